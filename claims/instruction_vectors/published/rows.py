"""What one row of the published tables says."""

from dataclasses import dataclass

from claims.instruction_vectors.published.models import PaperModel


@dataclass(frozen=True)
class Printed:
    """A number as the paper prints it."""

    text: str

    @property
    def value(self) -> float:
        """The number; -inf for `-inf`."""
        return float(self.text)


@dataclass(frozen=True)
class PairTest:
    """One t-test of Tables 5-8; `t` and `p` are None where the paper prints none.

    layers: two 0-based layers, or one, which the paper prints as a pair of itself.
    """

    table: int
    model: PaperModel
    task: str
    layers: tuple[int, ...]
    position: int
    t: Printed | None
    p: Printed | None


@dataclass(frozen=True)
class TopTuple:
    """One tuple of layers of Tables 9-18 and its mean effect on `rr` or `logit`."""

    table: int
    model: PaperModel
    task: str
    metric: str
    layers: tuple[int, ...]
    position: int
    contribution: Printed


@dataclass(frozen=True)
class HeadJaccardK:
    """Jaccard of active heads at T_inst between k = k_a and k = k_b (Tables 3, 20, 21).

    layers: first and last layer of the group, both included.
    """

    table: int
    model: PaperModel
    task: str
    layers: tuple[int, int]
    k_a: int
    k_b: int
    jaccard: Printed


@dataclass(frozen=True)
class HeadJaccardTasks:
    """Jaccard of active heads between adj_ant and adj_comp (Tables 22-24).

    offset: position of the token relative to T_inst. layers: first and last, both included.
    """

    table: int
    model: PaperModel
    k: int
    offset: int
    layers: tuple[int, int]
    jaccard: Printed


@dataclass(frozen=True)
class HeadSpearman:
    """Spearman's r of head activity between k = 1 and k = 2 in one layer (Table 2)."""

    model: PaperModel
    task: str
    layer: int
    r: Printed


@dataclass(frozen=True)
class Runtime:
    """Hours that one experiment takes on one task (Table 4); None where the paper prints none."""

    experiment: str
    k: int | None
    samples: int
    size: str
    hours: Printed | None
