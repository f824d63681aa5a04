"""What a claim asks: sides of thresholds, the alpha that is shared, and the words of the rule."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import special

from claims.instruction_vectors import test_linear_separability as separability
from claims.instruction_vectors import test_localization as localization
from claims.instruction_vectors import test_stages as stages
from ivevidence import Criterion, EvidenceError
from ivevidence.figures.data import SIDES
from ivfixtures.suite.asked import Asked, all_of, refuted_if, supported_if
from ivfixtures.suite.rules import judge
from ivmethods.statistics.univariate import ALPHA, Interval

numbers = st.floats(-1e6, 1e6)
thresholds = st.floats(1e-3, 1e6)
p_values = st.none() | st.floats(0, 1)
WAYS = {"above": 1, "below": 1, "within": 2}


@st.composite
def intervals(draw):
    """An estimate between bounds that may be missing."""
    low, estimate, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return estimate, draw(st.sampled_from([low, None])), draw(st.sampled_from([high, None]))


def criterion(interval, threshold, side, p_value=None, n=50):
    return Criterion("c", "", *interval, threshold, n, p_value, side=side)


def negated(interval):
    estimate, low, high = interval
    return -estimate, None if high is None else -high, None if low is None else -low


def normal(estimate, asked, error=1.0, n=50):
    """An interval of a normal estimate with that standard error, bounds as they are asked for."""
    bounds = partial(_normal_bounds, estimate, error, asked.alphas)
    return Interval(estimate, *bounds(ALPHA), n, bounds)


def _normal_bounds(estimate, error, alphas, level):
    low, high = (-special.ndtri(alphas[k] * level / ALPHA) for k in ("alpha", "alpha_high"))
    return float(estimate - error * low), float(estimate + error * high)


# ----------------------------------------------------------------------------------------- sides


@given(intervals(), numbers, p_values)
@example((1e-300, 0.0, 1.0), 0.0, None)  # too near to be decided
def test_below_is_above_of_the_negated_quantity(interval, threshold, p_value):
    below = criterion(interval, threshold, "below", p_value)
    above = criterion(negated(interval), -threshold, "above", p_value)
    assert (below.outcome, below.margin) == (above.outcome, above.margin)
    needed = [judge([c], samples=70).samples_to_decide for c in (below, above)]
    assert needed[0] == needed[1]


@given(intervals(), thresholds)
@example((0.0, -0.5, 0.5), 1.0)
@example((3.0, 2.0, 4.0), 1.0)
@example((-3.0, -4.0, -2.0), 1.0)
@example((0.0, None, 0.5), 1.0)
def test_within_is_both_above_its_lower_and_below_its_upper_end(interval, threshold):
    within = criterion(interval, threshold, "within")
    both = [criterion(interval, -threshold, "above"), criterion(interval, threshold, "below")]
    outcomes = {c.outcome for c in both}
    expected = "short" if "short" in outcomes else "open" if "open" in outcomes else "beyond"
    assert within.outcome == expected
    if expected != "open":
        assert within.margin == min(c.margin for c in both if c.outcome == expected)


@given(intervals(), st.floats(-1e6, 0))
def test_nothing_is_within_a_threshold_that_is_not_above_0(interval, threshold):
    with pytest.raises(EvidenceError, match="but should be above 0, as side=within"):
        criterion(interval, threshold, "within")


def test_a_side_is_one_of_three():
    with pytest.raises(
        EvidenceError, match="side='beside', but should be one of above, below or w"
    ):
        criterion((0.0, -1.0, 1.0), 1.0, "beside")


@pytest.mark.parametrize(
    ("side", "p_value", "outcome"),
    [("below", 0.01, "beyond"), ("below", 0.05, "open"), ("within", 0.5, "open")],
)
def test_a_test_beside_the_interval_is_of_the_asked_side(side, p_value, outcome):
    assert criterion((0.0, -0.5, 0.5), 1.0, side, p_value).outcome == outcome
    assert criterion((2.0, 1.5, 2.5), 1.0, side, p_value).outcome == "short"


# ---------------------------------------------------------------------------------------- levels


@given(st.floats(-6, 6), st.sampled_from(SIDES), st.integers(1, 5))
def test_a_level_is_the_one_at_which_the_outcome_is_just_decided(estimate, side, times):
    (asked,) = all_of(Asked("x", 2.0, side), times=times)
    made = asked.criterion("", normal(estimate, asked))
    if made.outcome == "open":
        assert made.level is None
        return
    assume(made.level > 1e-8)

    def outcome(level):
        low, high = _normal_bounds(estimate, 1.0, asked.alphas, level)
        return replace(made, low=low, high=high).outcome

    assert outcome(min(made.level * 1.001, ALPHA)) == made.outcome
    assert outcome(made.level * 0.999) == "open"


@given(st.floats(-6, 6), st.integers(1, 5))
def test_the_level_of_below_is_that_of_above_of_the_negated_quantity(estimate, times):
    (below,) = all_of(Asked("x", 0.5, "below"), times=times)
    (above,) = all_of(Asked("x", -0.5), times=times)
    first = below.criterion("", normal(estimate, below))
    second = above.criterion("", normal(-estimate, above))
    assert first.level == pytest.approx(second.level, rel=1e-3)


def test_a_level_is_no_smaller_than_the_p_value_of_what_is_beyond():
    for side, estimate in (("above", 5.0), ("below", -5.0), ("within", 0.0)):
        asked = Asked("x", 3.0 if side == "within" else 0.0, side)
        made = asked.criterion("", normal(estimate, asked), p_value=0.04)
        assert (made.outcome, made.level) == ("beyond", 0.04)
        far = asked.criterion("", normal(20.0 if side == "within" else -estimate, asked))
        assert (
            asked.criterion("", normal(-estimate or 20.0, asked), p_value=0.04).level == far.level
        )


# ------------------------------------------------------------------------------ several at once


@given(st.lists(st.sampled_from(SIDES), min_size=1, max_size=5), st.integers(1, 3))
def test_the_ways_to_be_refuted_share_one_alpha(sides, times):
    asked = all_of(*(Asked(side, 1.0, side) for side in sides), times=times)
    ways = times * sum(WAYS[side] for side in sides)
    shared = 0.0
    for each in asked:
        low, high = each.alphas["alpha"], each.alphas["alpha_high"]
        assert each.ways == ways
        assert low <= ALPHA
        assert high <= ALPHA
        refuting = {"above": high, "below": low, "within": low + high}[each.side]
        supporting = {"above": low, "below": high, "within": max(low, high)}[each.side]
        shared += times * refuting
        assert supporting == (ALPHA / ways if each.side == "within" else ALPHA)
    assert shared == pytest.approx(ALPHA)


def test_what_is_asked_alone_has_its_own_ways():
    assert [Asked("x", 1.0, side).ways for side in SIDES] == [1, 1, 2]


RUNS = 2_000


def rates(mean, threshold, side):
    """How often a normal quantity with a standard error of 1 is supported and refuted."""
    asked, generator = Asked("x", threshold, side), np.random.default_rng(0)
    drawn = map(float, mean + generator.normal(size=RUNS))
    outcomes = [asked.criterion("", replace(normal(x, asked), at=None)).outcome for x in drawn]
    return outcomes.count("beyond") / RUNS, outcomes.count("short") / RUNS


def test_equivalence_is_rarely_wrong_on_its_threshold_and_right_elsewhere():
    for mean in (4.0, -4.0):
        supported, refuted = rates(mean, 4.0, "within")
        assert supported <= ALPHA
        assert refuted <= ALPHA
    assert rates(0.0, 4.0, "within")[0] > 0.9
    for mean in (8.0, -8.0):
        assert rates(mean, 4.0, "within")[1] > 0.9


def test_a_narrow_equivalence_is_not_refuted_from_both_sides_at_the_full_alpha():
    assert rates(0.0, 0.01, "within")[1] <= 1.2 * ALPHA


def test_criteria_of_all_sides_support_together_and_any_one_refutes():
    beyond = [
        criterion((3.0, 2.0, 4.0), 1.0, "above"),
        criterion((-3.0, -4.0, -2.0), 1.0, "below"),
        criterion((0.0, -0.5, 0.5), 1.0, "within"),
    ]
    assert judge(beyond, samples=100).verdict == "supported"
    short = [
        (beyond[0], criterion((0.0, -0.5, 0.5), 1.0, "above"), "at most 0.5), threshold 1"),
        (beyond[1], criterion((3.0, 2.0, 4.0), 1.0, "below"), "at least 2), threshold < 1"),
        (beyond[2], criterion((3.0, 2.0, 4.0), 1.0, "within"), "at least 2), threshold ±1"),
        (beyond[2], criterion((-3.0, -4.0, -2.0), 1.0, "within"), "at most -2), threshold ±1"),
    ]
    for replaced, other, said in short:
        decision = judge([other if c is replaced else c for c in beyond], samples=100)
        assert decision.verdict == "refuted"
        assert said in decision.reason
    undecided = criterion((0.5, 0.0, 1.5), 1.0, "within")
    decision = judge([*beyond, undecided], samples=100)
    assert (decision.verdict, decision.reason) == (
        "inconclusive",
        "c 0.5 (between 0 and 1.5), threshold ±1; about 400 samples would decide",
    )


def test_samples_to_decide_are_those_of_the_side_that_the_estimate_is_on():
    needed = partial(judge, samples=50)
    within = criterion((0.25, -1.25, 1.0), 1.0, "within")  # 0.75 to each end of its bounds
    assert needed([within]).samples_to_decide == 72  # the lower bound: (1.5 / 1.25) ** 2
    outside = criterion((2.0, 0.0, 4.0), 1.0, "within")
    assert needed([outside]).samples_to_decide == 200  # to refute
    untested = criterion((0.0, -0.5, 0.5), 1.0, "below", p_value=float(special.ndtr(-1.645 / 2)))
    assert needed([untested]).samples_to_decide in (200, 201)
    assert needed([criterion((0.5, None, 1.5), 1.0, "within")]).samples_to_decide is None
    # One whose estimate is short is enough to refute.
    far = criterion((3.0, 0.0, 6.0), 1.0, "below")
    assert needed([within, far]).samples_to_decide == 113


# ----------------------------------------------------------------------------------------- words


@given(
    st.lists(st.tuples(thresholds, st.sampled_from(SIDES)), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_the_words_have_the_numbers_that_are_used(pairs, times):
    asked = all_of(*(Asked(f"q{k}", *pair) for k, pair in enumerate(pairs)), times=times)
    supported, refuted = supported_if(*asked), refuted_if(*asked)
    for each in asked:
        side = "within ±" if each.side == "within" else f"{each.side} "
        assert f"'{each.name}' is {side}{each.threshold:g}" in supported
        made = each.criterion("what", normal(0.0, each))
        assert made.threshold == each.threshold
        for alpha in each.alphas.values():
            assert any(
                alpha == pytest.approx(0.05 / int(ways or 1))
                for ways in re.findall(r"5 %(?: / (\d+))?", made.description)
            )
    ways = re.search(r"5 % / (\d+), as there are (\d+) ways", refuted)
    assert (ways.groups() if ways else ("1", "1")) == (str(asked[0].ways),) * 2


def test_words_of_one_and_of_several():
    (share,) = all_of(Asked("share", 0.5), times=2)
    assert supported_if(share) == "supported if 'share' is above 0.5 (one-sided 5 %)"
    assert refuted_if(share) == (
        "refuted if it is short of that (one-sided 5 % / 2, as there are 2 ways to be refuted)"
    )
    asked = all_of(Asked("gain", 0.1), Asked("loss", 0.2, "below"), Asked("drift", 0.3, "within"))
    assert supported_if(*asked) == (
        "supported if 'gain' is above 0.1, 'loss' is below 0.2 and 'drift' is within ±0.3 "
        "(each one-sided 5 %; within: one-sided 5 % / 4 below and above)"
    )
    assert supported_if(Asked("drift", 0.3, "within")) == (
        "supported if 'drift' is within ±0.3 (one-sided 5 % / 2 below and above)"
    )
    assert [each.bounds_text for each in asked] == [
        "one-sided 5 % below, 5 % / 4 above",
        "one-sided 5 % / 4 below, 5 % above",
        "one-sided 5 % / 4 below and above",
    ]


def test_rules_of_the_claims_have_what_their_criteria_ask():
    for rule, asked in (
        (localization.CLAIM.rule, localization.ASKED),
        (stages.CLAIM.rule, stages.LEADS),
        (separability.CLAIM.rule, separability.LEADS),
    ):
        assert all(each.text in rule for each in asked)
        assert f"5 % / {len(asked)}, as there are {len(asked)} ways" in rule
