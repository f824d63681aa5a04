"""What a claim asks of its numbers; the alphas of their bounds and the rule's words follow."""

from dataclasses import dataclass, replace

from ivevidence.figures.data import SIDES, edges
from ivevidence.records.cells import Criterion
from ivfixtures.errors import error_line
from ivmethods.statistics.univariate import ALPHA, Interval

_ALPHA = f"{100 * ALPHA:g} %"


@dataclass(frozen=True)
class Asked:
    """A quantity that a claim asks to be above, below or within a threshold.

    name: that of the criterion. side: `above` the threshold, `below` it, or `within` it on both
    sides of 0 (equivalence). ways: to refute the claim; they share the alpha of refuting. What is
    asked to be within can be refuted in two ways. Between two other bounds: ask it to be above the
    one and below the other.
    """

    name: str
    threshold: float
    side: str = "above"
    ways: int = 1

    def __post_init__(self) -> None:
        where = "criterion"
        if self.side not in SIDES:
            expected, remedy = f"one of {', '.join(SIDES)}", "correct it"
            raise ValueError(error_line("side", repr(self.side), expected, where, remedy))
        if self.side == "within" and not self.threshold > 0:
            remedy = "say how far from 0 does not matter"
            raise ValueError(error_line("threshold", str(self.threshold), "above 0", where, remedy))
        object.__setattr__(self, "ways", max(self.ways, _ways(self)))

    @property
    def alphas(self) -> dict[str, float]:
        """One-sided errors of its bounds: `alpha` of the lower one, `alpha_high` of the upper one.

        Supporting takes all criteria at once, so a bound that supports has the full alpha (an
        intersection-union test). Refuting takes any one, so those that refute share it
        (Bonferroni). Those of `within` do both, and have the smaller one.
        """
        shared = ALPHA / self.ways
        return {
            "alpha": ALPHA if self.side == "above" else shared,
            "alpha_high": ALPHA if self.side == "below" else shared,
        }

    @property
    def bounds_text(self) -> str:
        """The one-sided errors of its bounds in words."""
        shared = shared_text(self.ways)
        if self.ways == 1:
            return f"one-sided {shared}"
        texts = {
            "above": f"{_ALPHA} below, {shared} above",
            "below": f"{shared} below, {_ALPHA} above",
            "within": f"{shared} below and above",
        }
        return f"one-sided {texts[self.side]}"

    @property
    def text(self) -> str:
        """What is asked, in words."""
        side = "within ±" if self.side == "within" else f"{self.side} "
        return f"'{self.name}' is {side}{self.threshold:g}"

    def criterion(
        self, description: str, interval: Interval, *, p_value: float | None = None, unit: str = ""
    ) -> Criterion:
        """The criterion, from an interval whose bounds have the `alphas`.

        p_value: of a test of the asked side, if there is one beside the interval.
        """
        levels = [interval.level(edge) for edge in edges(self.threshold, self.side)]
        known = [level for level in levels if level is not None]
        made = Criterion(
            name=self.name,
            description=f"{description} (bounds: {self.bounds_text})".strip(),
            estimate=interval.estimate,
            low=interval.low,
            high=interval.high,
            threshold=self.threshold,
            n=interval.n,
            p_value=p_value,
            unit=unit,
            level=max(known) if len(known) == len(levels) else None,
            side=self.side,
        )
        if made.level is None or p_value is None or made.leads[0] <= 0:
            return made
        return replace(made, level=max(made.level, p_value))


def all_of(*asked: Asked, times: int = 1) -> tuple[Asked, ...]:
    """What one claim asks at once, its alpha of refuting shared among all the ways to be refuted.

    times: decisions of which one that is refuted is enough, such as those in several metrics.
    """
    ways = times * sum(map(_ways, asked))
    return tuple(replace(each, ways=ways) for each in asked)


def supported_if(*asked: Asked) -> str:
    """When the claim is supported, for its rule."""
    *others, last = [each.text for each in asked]
    texts = f"{', '.join(others)} and {last}" if others else last
    errors = [f"{'each ' if others else ''}one-sided {_ALPHA}"]
    if within := [each for each in asked if each.side == "within"]:
        text = within[0].bounds_text
        errors = [text] if len(within) == len(asked) else [*errors, f"within: {text}"]
    return f"supported if {texts} ({'; '.join(errors)})"


def refuted_if(*asked: Asked) -> str:
    """When the claim is refuted, for its rule."""
    ways = asked[0].ways
    subject = "any of these" if len(asked) > 1 else "it"
    why = f", as there are {ways} ways to be refuted" if ways > 1 else ""
    return f"refuted if {subject} is short of that (one-sided {shared_text(ways)}{why})"


def shared_text(ways: int) -> str:
    """The alpha that each of so many ways to be refuted has, in words."""
    return _ALPHA if ways == 1 else f"{_ALPHA} / {ways}"


def _ways(asked: Asked) -> int:
    return 2 if asked.side == "within" else 1
