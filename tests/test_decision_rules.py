"""False positives and power of the decision rules, measured on simulated effects.

Worlds strictly inside the null must come out `supported` in at most 5 % of 500 runs. Where a world
sits exactly on one threshold and holds all others, a rule at 5 % says so in 5 %, so its count of
500 scatters by 1 % around that: such worlds may reach 7 %.
"""

import re
from collections import Counter

import numpy as np
import pytest

from claims import test_localization as localization
from claims import test_superadditivity as superadditivity
from ivevidence.records import Criterion
from ivfixtures.judging import judge
from ivmethods.sweep import layer_tuples

RUNS = 500
LEVEL = 0.05
ON_THRESHOLD = 0.07


def halves(generator, n):
    is_discovery = np.zeros(n, dtype=bool)
    is_discovery[generator.permutation(n)[: n // 2]] = True
    return is_discovery


# ------------------------------------------------------------------------------- superadditivity


def pairs_of(layers):
    return [(i, j) for i in range(layers) for j in range(i + 1, layers)]


def pair_cell(
    generator, *, n=100, layers=4, interaction=0.0, alone=1.0, rho=0.5, heavy=False, noise=1.0
):
    """Singles vary over samples; the interactions' noise is correlated between pairs."""
    pairs = pairs_of(layers)
    singles = alone * (1 + 0.5 * generator.normal(size=(n, layers)))
    shared, own = generator.normal(size=(n, 1)), generator.normal(size=(n, len(pairs)))
    scatter = noise * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)
    if heavy:
        scatter /= np.sqrt(generator.chisquare(3, size=(n, 1)) / 3)
    first, second = np.array(pairs).T
    together = singles[:, first] + singles[:, second] + interaction + scatter
    return {"singles": singles, "together": together, "pairs": pairs}


def judge_pairs(generator, cell, *, specific=None, rr_gap=1.0, resamples=200):
    n, pairs = cell["together"].shape
    is_discovery = halves(generator, n)
    chosen = superadditivity.discover(
        cell["together"],
        cell["together"] if specific is None else specific,
        is_discovery=is_discovery,
        degenerate=np.zeros(pairs, dtype=bool),
    )
    return superadditivity.decide(
        **cell,
        chosen=chosen,
        rr_gap=np.full(n, rr_gap),
        is_discovery=is_discovery,
        resamples=resamples,
        seed=int(generator.integers(2**31)),
    )


def pair_verdicts(runs=RUNS, **world):
    generator = np.random.default_rng(0)
    decisions = (judge_pairs(generator, pair_cell(generator, **world)) for _ in range(runs))
    return Counter(decision.verdict for decision in decisions)


@pytest.mark.parametrize(
    ("layers", "rho", "heavy"),
    [(2, 0, False), (2, 0, True), (3, 0.5, True), (4, 0, False), (4, 0.5, False), (4, 0.5, True)],
)
def test_additive_effects_are_not_superadditive(layers, rho, heavy):
    verdicts = pair_verdicts(layers=layers, rho=rho, heavy=heavy)
    assert verdicts["supported"] <= LEVEL * RUNS


def test_a_planted_interaction_of_half_a_standard_deviation_is_found():
    verdicts = pair_verdicts(layers=5, interaction=0.5, alone=0.1)
    assert verdicts["supported"] >= 0.9 * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


@pytest.mark.parametrize("rho", [0, 0.5])
def test_half_of_the_pairs_are_not_the_majority(rho):
    huge_or_none = np.repeat([5.0, 0.0], 3)
    assert pair_verdicts(interaction=huge_or_none, rho=rho)["supported"] <= LEVEL * RUNS


@pytest.mark.parametrize("rho", [0, 0.5])
def test_interactions_at_the_smallest_size_are_not_enough_for_the_majority(rho):
    """Half of the pairs interact hugely; the others positively, but at 5 % of their effect."""
    at_threshold = 0.05 * 2 / (1 - 0.05)
    huge_or_small = np.repeat([10.0, at_threshold], 3)
    verdicts = pair_verdicts(interaction=huge_or_small, rho=rho, noise=0.05)
    assert verdicts["supported"] <= ON_THRESHOLD * RUNS


def test_subadditive_effects_are_refuted_and_strong_ones_supported():
    assert pair_verdicts(50, interaction=-1.0, alone=2.0)["refuted"] == 50
    assert pair_verdicts(50, interaction=2.0)["supported"] == 50


def test_pairs_are_the_ten_largest_with_a_specific_effect():
    generator = np.random.default_rng(0)
    together = np.linspace(1, 2, 15) + 0.1 * generator.normal(size=(40, 15))
    specific = together.copy()
    specific[:, 14] = generator.normal(size=40)
    degenerate = np.arange(15) == 13
    is_discovery = np.arange(40) < 20
    arguments = {"is_discovery": is_discovery, "degenerate": degenerate}
    chosen = superadditivity.discover(together, specific, **arguments)
    assert sorted(chosen) == list(range(3, 13))
    means = together[is_discovery][:, chosen].mean(axis=0)
    assert list(means) == sorted(means, reverse=True)
    together[~is_discovery], specific[~is_discovery] = -9, -9
    assert superadditivity.discover(together, specific, **arguments) == chosen


def test_discovery_samples_do_not_enter_the_verdict_on_pairs():
    generator = np.random.default_rng(0)
    cell = pair_cell(generator, interaction=1.0)
    is_discovery = halves(generator, 100)
    arguments = {"chosen": (0, 1, 2), "rr_gap": np.ones(100), "is_discovery": is_discovery}
    before = superadditivity.decide(**cell, **arguments, resamples=200)
    cell["together"][is_discovery] = -100
    assert superadditivity.decide(**cell, **arguments, resamples=200) == before


@pytest.mark.parametrize("metric_scale", [0.0, 1.0])
def test_pairs_without_effect_or_without_specific_effect_are_inconclusive(metric_scale):
    generator = np.random.default_rng(0)
    cell = pair_cell(generator, interaction=1.0)
    for key in ("singles", "together"):
        cell[key] = cell[key] * metric_scale
    decision = judge_pairs(generator, cell, specific=np.zeros_like(cell["together"]))
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason == "no pair has a specific effect above zero"


def test_ties_count_against_superadditivity():
    singles = np.full((100, 4), 0.5)
    together = np.ones((100, 6))
    cell = {"singles": singles, "together": together, "pairs": pairs_of(4)}
    decision = judge_pairs(np.random.default_rng(0), cell)
    assert decision.verdict == "refuted"
    assert [c.p_value for c in decision.criteria] == [1, 1]


# ---------------------------------------------------------------------------------- localization


def tuple_cell(
    generator,
    *,
    n=100,
    tuples=15,
    active=2,
    closed=0.3,
    noise=0.3,
    other_noise=0.3,
    contrast=0.0,
    random=0.0,
    others=0.0,
    all_layers=0.3,
    all_or_nothing=False,
):
    """Effects in units of a mean gap of 0.5; the first `active` layers close `closed` each."""
    gap = 0.5 + 0.1 * generator.normal(size=n)
    scatter = other_noise * generator.normal(size=(n, tuples))
    scatter[:, :active] *= noise / other_noise
    shares = scatter + np.where(np.arange(tuples) < active, closed, 0.0)
    if all_or_nothing:
        shares[:, :active] = generator.random(size=(n, active)) < closed
    degenerate = np.arange(tuples) >= tuples - 2
    shares[:, degenerate] = 0
    specific = shares - np.where(np.arange(tuples) < active, contrast, 0.0)
    specific[:, ~degenerate] += 0.1 * generator.normal(size=(n, tuples - 2))
    return {
        "effects": 0.5 * shares,
        "specific": 0.5 * specific,
        "random": 0.5 * (random + 0.3 * generator.normal(size=(n, 20))),
        "other_positions": 0.5 * (others + 0.1 * generator.normal(size=n)),
        "all_layers": 0.5 * (all_layers + 0.1 * generator.normal(size=n)),
        "gap": gap,
        "rr_gap": gap.copy(),
        "is_discovery": halves(generator, n),
    }, degenerate


def judge_tuples(generator, cell, degenerate, *, resamples=300):
    chosen = localization.discover(
        cell["effects"],
        cell["specific"],
        [(layer,) for layer in range(len(degenerate))],
        is_discovery=cell["is_discovery"],
        degenerate=degenerate,
    )
    seed = int(generator.integers(2**31))
    return localization.decide(**cell, chosen=chosen, resamples=resamples, seed=seed)


def tuple_verdicts(runs=RUNS, **world):
    generator = np.random.default_rng(0)
    decisions = (judge_tuples(generator, *tuple_cell(generator, **world)) for _ in range(runs))
    return Counter(decision.verdict for decision in decisions)


@pytest.mark.parametrize(
    "world",
    [
        {"closed": 0.0},
        {"contrast": 0.3},
        {"active": 13, "closed": 0.15, "all_layers": 1.0},
    ],
    ids=["no effect", "unspecific", "spread evenly"],
)
def test_effects_that_miss_one_criterion_are_not_localized(world):
    assert tuple_verdicts(**world)["supported"] <= LEVEL * RUNS


TENTH = {"closed": 0.1, "contrast": -0.3, "random": -0.3, "others": -0.3, "other_noise": 0.05}
TENTH |= {"all_layers": 0.0}


@pytest.mark.parametrize(
    "world",
    [
        {"random": 0.3},
        {"others": 0.3},
        {"all_layers": 0.6},
        TENTH,
        TENTH | {"all_or_nothing": True},
    ],
    ids=[
        "random as much",
        "other positions as much",
        "half of all layers",
        "a tenth",
        "a tenth, all or nothing",
    ],
)
def test_effects_on_a_threshold_are_localized_in_five_of_a_hundred(world):
    verdicts = tuple_verdicts(**world)
    assert verdicts["supported"] <= ON_THRESHOLD * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


def test_three_tenths_of_the_gap_are_found_localized():
    verdicts = tuple_verdicts()
    assert verdicts["supported"] >= 0.9 * RUNS
    assert verdicts["refuted"] <= LEVEL * RUNS


@pytest.mark.parametrize(
    "world", [{"active": 13, "closed": 0.15, "all_layers": 1.0}, {"active": 13, "closed": -0.3}]
)
def test_spread_and_harmful_effects_are_refuted(world):
    assert tuple_verdicts(50, **world)["refuted"] >= 45


def test_effects_of_zero_are_not_localized():
    generator = np.random.default_rng(0)
    cell, degenerate = tuple_cell(generator)
    for key in ("effects", "specific", "random", "other_positions", "all_layers"):
        cell[key] = np.zeros_like(cell[key])
    decision = judge_tuples(generator, cell, degenerate)
    assert decision.verdict == "refuted"
    assert [c.estimate for c in decision.criteria] == [0] * 5


def test_the_tuple_has_the_largest_smaller_one_of_effect_and_specific_effect():
    effects = np.tile([0.5, 0.9, 0.4, 0.4, 9.0], (6, 1))
    specific = np.tile([0.3, 0.1, 0.4, 0.4, 9.0], (6, 1))
    arguments = {"is_discovery": np.arange(6) < 3, "degenerate": np.arange(5) == 4}
    arguments["tuples"] = [(0,), (1,), (2,), (3,), (4,)]
    assert localization.discover(effects, specific, **arguments) == 2
    effects[3:], specific[3:] = 9 - effects[3:], 9 - specific[3:]
    assert localization.discover(effects, specific, **arguments) == 2
    arguments["degenerate"] = np.ones(5, dtype=bool)
    with pytest.raises(ValueError, match="non-degenerate tuples=0 of 5, but should be at least 1"):
        localization.discover(effects, specific, **arguments)


@pytest.mark.parametrize(("layers", "few"), [(3, 1), (5, 1), (8, 1), (9, 2), (12, 2), (15, 3)])
def test_few_layers_are_fewer_than_a_quarter_and_at_least_one(layers, few):
    tuples = layer_tuples(layers + 1, 3)
    effects = np.tile([float(len(t)) for t in tuples], (4, 1))
    chosen = localization.discover(
        effects,
        effects,
        tuples,
        is_discovery=np.arange(4) < 2,
        degenerate=np.array([t[-1] == layers for t in tuples]),
    )
    assert len(tuples[chosen]) == few


def test_discovery_samples_do_not_enter_the_verdict_on_the_tuple():
    generator = np.random.default_rng(0)
    cell, _ = tuple_cell(generator)
    before = localization.decide(**cell, chosen=0, resamples=200)
    for key in ("effects", "specific", "random", "other_positions", "all_layers", "gap"):
        cell[key][cell["is_discovery"]] = -100
    assert localization.decide(**cell, chosen=0, resamples=200) == before


# ------------------------------------------------------------------------------------------ both


@pytest.mark.parametrize("gap", [-0.1, 0.0, 0.099])
def test_without_headroom_nothing_is_concluded(gap):
    generator = np.random.default_rng(0)
    cell, degenerate = tuple_cell(generator)
    cell["rr_gap"] = np.full(100, gap)
    decisions = [
        judge_tuples(generator, cell, degenerate),
        judge_pairs(generator, pair_cell(generator, interaction=5.0), rr_gap=gap),
    ]
    for decision in decisions:
        assert (decision.verdict, decision.criteria) == ("inconclusive", ())
        assert re.match(r"no headroom: mean rr gap .* should be at least 0\.1$", decision.reason)


def test_a_metric_without_a_gap_has_no_share_to_close():
    generator = np.random.default_rng(0)
    cell, degenerate = tuple_cell(generator)
    cell["gap"] = -cell["gap"]
    decision = judge_tuples(generator, cell, degenerate)
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())


def test_nan_is_refused():
    generator = np.random.default_rng(0)
    cell, degenerate = tuple_cell(generator)
    cell["effects"][3, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite, but should be finite"):
        judge_tuples(generator, cell, degenerate)
    pairs = pair_cell(generator)
    pairs["together"][3, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite, but should be finite"):
        judge_pairs(generator, pairs)


def test_larger_effects_need_fewer_samples_to_decide():
    needed = []
    for closed in (0.12, 0.14, 0.16):
        generator = np.random.default_rng(3)
        cell, _ = tuple_cell(generator, closed=closed, other_noise=0.05, all_layers=0.0)
        decision = localization.decide(**cell, chosen=0, resamples=999)
        assert decision.verdict == "inconclusive"
        assert f"about {decision.samples_to_decide} samples would decide" in decision.reason
        needed.append(decision.samples_to_decide)
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > needed[-1] > 100


def example(estimate, low, high, **extra):
    return Criterion("share", "of something", estimate, low, high, 0.1, 50, **extra)


def test_all_criteria_support_and_any_one_refutes():
    beyond, short, undecided = example(0.3, 0.2, 0.4), example(0, -0.1, 0.05), example(0.2, 0, 0.4)
    assert judge([beyond, beyond], samples=100).verdict == "supported"
    assert judge([beyond, undecided], samples=100).verdict == "inconclusive"
    refuted = judge([beyond, undecided, short], samples=100)
    assert (refuted.verdict, refuted.samples_to_decide) == ("refuted", None)
    assert refuted.reason == "share 0 (at most 0.05), threshold 0.1"


def test_samples_to_decide_are_samples_of_the_cell():
    above, far_above, below = example(0.2, 0, 0.4), example(0.3, 0, 0.4), example(0, -0.2, 0.2)
    assert judge([above, far_above], samples=100).samples_to_decide == 400
    assert judge([far_above, below], samples=100).samples_to_decide == 400
    nearly = example(0, -0.2, 0.11)
    assert judge([below, nearly], samples=100).samples_to_decide == 122
    assert judge([example(0.3, 0.2, 0.4), far_above], samples=50).samples_to_decide == 113
    unbounded = judge([example(0.2, None, None), far_above], samples=100)
    assert (unbounded.verdict, unbounded.samples_to_decide) == ("inconclusive", None)
    assert "between anything and anything" in unbounded.reason


def test_a_criterion_with_a_p_value_needs_both():
    criterion = example(0.3, 0.2, 0.4, p_value=0.2)
    decision = judge([criterion], samples=100)
    assert decision.verdict == "inconclusive"
    assert decision.samples_to_decide > 100
