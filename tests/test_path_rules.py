"""False positives and power of the rules on paths and heads, measured on simulated worlds.

As in `test_decision_rules`: strictly inside the null at most 5 % of the runs are `supported`, on a
threshold at most 7 %.
"""

import math
from collections import Counter

import numpy as np
import pytest

from claims import test_active_layers as active_layers
from claims import test_head_sharing as head_sharing
from claims import test_tinst_path_dominance as dominance
from ivmethods.relative_lead import relative_lead
from ivmethods.sweep import layer_tuples
from tests.test_decision_rules import LEVEL, ON_THRESHOLD, RUNS, halves

# ---------------------------------------------------------------------------- T_inst path dominance


def judge_counts(counts, **options):
    """T_inst's numbers first, then those of the tokens before and after it, then later ones."""
    rivals = {f"rival {i}": column for i, column in enumerate(counts.T[1:], start=1)}
    beside = list(rivals)[:2]
    return dominance.decide(own=counts[:, 0], rivals=rivals, beside=beside, draws=999, **options)


@pytest.mark.parametrize(
    ("rivals", "verdict"),
    [
        ((0.0, 0.0, 0.0), "supported"),
        ((5.0, 4.0, 4.0), "supported"),  # level with the one before, but not with the one after
        ((5.0, 5.0, 5.0), "inconclusive"),  # an upper bound that is nothing special
        ((5.2, 4.8, 4.6), "inconclusive"),  # steadily falling
        ((5.2, 4.0, 4.0), "supported"),  # 2 % more do not matter
        ((5.2, 5.2, 4.0), "refuted"),  # unless both neighbours have them
        ((6.0, 1.0, 1.0), "refuted"),
        ((1.0, 1.0, 6.0), "refuted"),
    ],
)
def test_t_inst_is_an_upper_bound_that_stands_out(rivals, verdict):
    assert judge_counts(np.tile([5.0, *rivals], (400, 1))).verdict == verdict


def test_a_single_pooled_rival_has_to_be_led():
    own = np.full(400, 5.0)
    for other, verdict in ((4.0, "supported"), (5.0, "inconclusive"), (5.2, "refuted")):
        decision = dominance.decide(own=own, rivals={"later": np.full(400, other)}, draws=999)
        assert (decision.verdict, len(decision.criteria)) == (verdict, 1)


def test_the_criterion_closest_to_its_threshold_comes_first():
    decision = judge_counts(np.tile([5.0, 4.6, 4.8, 4.0], (200, 1)))
    assert [(c.name, c.threshold) for c in decision.criteria] == [
        ("mean lead over rival 1 and rival 2", 0),
        *((f"lead over rival {i}", -0.05) for i in (2, 1, 3)),
    ]


@pytest.mark.parametrize("counts", [np.zeros((40, 4)), np.eye(40, 4), np.full((40, 4), np.nan)])
def test_few_samples_with_paths_decide_nothing(counts):
    decision = judge_counts(counts)
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    n = int((counts > 0).any(axis=1).sum())
    assert decision.reason == (
        f"{n} samples on which any of these tokens has a high-ranking path decide, but should be "
        "at least 15"
    )


def test_a_rival_without_paths_beside_none_of_t_inst_leaves_it_open():
    """T_inst and the first rival have none; each of ten others has some on two samples."""
    counts = np.column_stack([np.zeros((20, 2)), np.repeat(np.eye(10), 2, axis=0)])
    decision = judge_counts(counts)
    assert (decision.verdict, decision.samples_to_decide) == ("inconclusive", 90)
    unknown = next(c for c in decision.criteria if c.name == "lead over rival 1")
    assert (unknown.estimate, unknown.low, unknown.high, unknown.n) == (None, None, None, 0)


def test_samples_without_any_path_are_dropped():
    counts = np.random.default_rng(0).poisson(5, (40, 4)).astype(float)
    with_gaps = counts.copy()
    with_gaps[3, 0] = with_gaps[7, 2] = np.nan
    kept = np.delete(counts, [3, 7], axis=0)
    assert judge_counts(with_gaps).criteria == judge_counts(kept).criteria


def test_the_picking_part_picks_the_token_and_then_has_no_say():
    generator = np.random.default_rng(0)
    is_discovery = halves(generator, 60)
    candidates = np.where(is_discovery[:, None], [1.0, 2.0], [9.0, 0.0])
    candidates[np.flatnonzero(is_discovery)[0]] = [np.nan, 0]
    assert dominance.discover(candidates, is_discovery=is_discovery) == 1
    assert dominance.discover(candidates, is_discovery=~is_discovery) == 0
    assert dominance.discover(np.ones((60, 2)), is_discovery=is_discovery) == 0
    assert dominance.discover(np.full((60, 2), np.nan), is_discovery=is_discovery) == 0
    counts = generator.poisson(5, (60, 4)).astype(float)
    before = judge_counts(counts, is_discovery=is_discovery)
    assert before.criteria[0].n == 30
    counts[is_discovery] = 1000 * generator.random(size=(30, 4))
    assert judge_counts(counts, is_discovery=is_discovery) == before


def test_a_lead_is_the_mean_over_samples_with_paths():
    own, rivals = np.array([3.0, 0, 0, 1]), np.array([[1.0, 3], [0, 0], [2, 0], [1, 1]])
    found = relative_lead(own, rivals, draws=999)
    assert found.n == 3
    assert found.estimate == pytest.approx(((0.5 + 0) / 2 + (-1 + 0) / 2 + 0) / 3)
    assert relative_lead(own, rivals[:, :1], draws=999).estimate == pytest.approx((0.5 - 1 + 0) / 3)


def test_an_interval_holds_the_lead_in_mean_numbers_of_all_samples():
    """Few samples with very many paths lead the mean astray; the bounds are those of the leads."""
    own, rival = np.full(100, 20.0), np.full(100, 10.0)
    plain = relative_lead(own, rival[:, None], draws=999)
    assert plain.estimate == pytest.approx(1 / 3)
    assert plain.low > 0.25
    rival[0] = 9000
    odd = relative_lead(own, rival[:, None], draws=999)
    assert odd.low == pytest.approx((20 - 99.9) / (20 + 99.9))
    assert odd.estimate > 0.3
    assert relative_lead(rival, own[:, None], draws=999).high == pytest.approx(-odd.low)


def test_bounds_of_a_lead_can_be_stricter_above():
    own, rival = np.random.default_rng(0).exponential(size=(2, 50))
    found = relative_lead(own, rival[:, None], draws=999)
    stricter = relative_lead(own, rival[:, None], draws=999, alpha_high=0.01)
    assert (stricter.low, stricter.high > found.high) == (found.low, True)
    with pytest.raises(ValueError, match="NaN or infinite, but should be finite"):
        relative_lead(np.full(5, np.nan), np.ones((5, 1)))


# ------------------------------------------------------------------------------------- head sharing

EARLY, LATE = 4, 8  # heads of the first fifth and of the last third of 6 layers of 4 heads


def two_activities(generator, own, contrast, *, n=100, spread=5.0):
    """Activity of two tasks on 6 layers of 4 heads (or 16 of 16), given the groups' means."""
    layers, heads = (6, 4) if len(own) == EARLY + LATE else (16, 16)
    found = []
    for means in (own, contrast):
        early = len(means) // 3
        mean = np.full((layers, heads), 0.3)
        mean.ravel()[:early] = means[:early]
        mean.ravel()[-2 * early :] = means[early:]
        mean = np.clip(mean, 0.001, 0.999)
        found.append(generator.beta(spread * mean, spread * (1 - mean), (n, layers, heads)))
    return found


def sharing_verdicts(draw, *, runs=RUNS, **world):
    generator = np.random.default_rng(0)
    decisions = []
    for _ in range(runs):
        own, contrast = two_activities(generator, *draw(generator), **world)
        decisions.append(head_sharing.decide(own=own, contrast=contrast))
    return Counter(decision.verdict for decision in decisions)


def alternating(size, *values):
    return np.resize(values, size)


def same(late):
    """Both tasks have the same mean activities, clear ones in the early layers."""
    means = np.r_[alternating(EARLY, 0.5, 0.0), late]
    return lambda generator: (means, means)


def one_close(near):
    """The same active heads in both tasks; in one of them the late heads are close to 0.1."""
    contrast = np.r_[alternating(EARLY, 0.5, 0.0), 0.5, 0.5, np.full(LATE - 2, near[1])]
    own = np.r_[contrast[: EARLY + 2], np.full(LATE - 2, near[0])]
    return lambda generator: (own, contrast)


@pytest.mark.parametrize("spread", [5.0, 0.01], ids=["graded", "all or nothing"])
@pytest.mark.parametrize(
    "draw",
    [
        same(alternating(LATE, 0.5, 0.0)),
        same(alternating(LATE, 0.13, 0.07)),
        same(alternating(LATE, 0.101, 0.099)),
        same(alternating(LATE, 0.5, 0.0, 0.11, 0.09)),
        one_close((0.12, 0.5)),
        one_close((0.08, 0.0)),
    ],
)
def test_equal_sets_of_active_heads_do_not_diverge(draw, spread):
    assert sharing_verdicts(draw, runs=200, spread=spread)["supported"] <= LEVEL * 200


@pytest.mark.parametrize("spread", [5.0, 1.0], ids=["graded", "skewed"])
@pytest.mark.parametrize("near", [(0.1001, 0.5), (0.0999, 0.0)])
def test_activities_on_the_threshold_of_active_are_no_divergence(near, spread):
    verdicts = sharing_verdicts(one_close(near), spread=spread)
    assert verdicts["supported"] <= ON_THRESHOLD * RUNS


def test_heads_close_to_the_threshold_do_not_hide_a_divergence():
    """The late sets are disjoint; early ones are the same, but close to the threshold."""
    early = alternating(EARLY, 0.12, 0.08)
    late = alternating(LATE, 0.5, 0.0)
    verdicts = sharing_verdicts(
        lambda generator: (np.r_[early, late], np.r_[early, late[::-1]]), runs=200
    )
    assert verdicts["refuted"] <= LEVEL * 200


@pytest.mark.parametrize("early", [EARLY, 48])
def test_clear_divergence_is_found_and_clear_agreement_refuted(early):
    both = alternating(early, 0.5, 0.0)
    late = alternating(2 * early, 0.5, 0.0)
    apart = np.r_[both, late], np.r_[both, late[::-1]]
    assert sharing_verdicts(lambda generator: apart, runs=20)["supported"] == 20
    assert sharing_verdicts(lambda generator: (apart[0], apart[0]), runs=20)["refuted"] == 20


def test_divergence_among_heads_of_all_degrees_of_activity_is_found():
    """As many heads as an OLMo-2 1B: the same activities in early layers, unrelated late ones."""

    def draw(generator):
        own, late = generator.beta(0.5, 1.5, 144), generator.beta(0.5, 1.5, 96)
        return own, np.r_[own[:48], late]

    verdicts = sharing_verdicts(draw, runs=100)
    assert verdicts["supported"] >= 0.7 * 100
    assert verdicts["refuted"] == 0


@pytest.mark.parametrize(
    ("own", "contrast", "group"),
    [
        (np.full(12, 0.5), np.full(12, 0.5), "first fifth"),
        (np.r_[0.5, np.zeros(11)], np.r_[0.5, np.zeros(11)], "last third"),
    ],
)
def test_nothing_to_hold_against_chance_is_inconclusive(own, contrast, group):
    activities = two_activities(np.random.default_rng(0), own, contrast)
    decision = head_sharing.decide(own=activities[0], contrast=activities[1])
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason.startswith(f"of the {group} of the layers, all heads are active")


def test_samples_must_have_paths_in_both_tasks():
    own, contrast = np.random.default_rng(0).random(size=(2, 20, 6, 4))
    own[:10], contrast[9:] = np.nan, np.nan
    decision = head_sharing.decide(own=own, contrast=contrast)
    assert decision.verdict == "inconclusive"
    assert decision.reason.startswith("0 of 20 samples have a high-ranking path")


# ------------------------------------------------------------------------------------ active layers


def depth_profile(generator, layers, kind):
    """A profile over layers: independent, a random walk, or a trend with noise."""
    z = generator.normal(size=layers)
    if kind == "walk":
        z = np.cumsum(z)
    if kind == "trend":
        z = np.linspace(-1, 1, layers) * generator.choice([-1, 1]) + 0.3 * z
    return (z - z.mean()) / z.std()


def layer_cell(generator, importance, profile, *, n=100, noise=0.5):
    """Effects of tuples that add up their layers' importance, and activities around a profile.

    There is one layer more, the inert last one.
    """
    layers = len(importance)
    tuples = layer_tuples(layers + 1, 3)
    idle = np.append(importance, 0)
    means = np.array([idle[list(t)].sum() / math.sqrt(len(t)) for t in tuples])
    effects = 2 + means + noise * generator.normal(size=(n, len(tuples)))
    mean = np.append(profile, 0.9)[None, :, None]
    activity = mean + 0.1 * generator.normal(size=(n, layers + 1, 1))
    activity = activity + 0.05 * generator.normal(size=(n, layers + 1, 4))
    return {
        "effects": effects,
        "tuples": tuples,
        "degenerate": np.array([t[-1] == layers for t in tuples]),
        "activity": activity,
        "is_discovery": halves(generator, n),
    }


def judge_layers(cell, *, seed=0, resamples=200):
    layers = sorted(
        {t[0] for t, inert in zip(cell["tuples"], cell["degenerate"], strict=True) if not inert}
    )
    chosen = active_layers.discover(
        cell["effects"],
        cell["effects"],
        cell["tuples"],
        np.ones(len(cell["effects"])),
        is_discovery=cell["is_discovery"],
        degenerate=cell["degenerate"],
    )
    return active_layers.decide(
        activity=cell["activity"],
        chosen=chosen,
        layers=layers,
        is_discovery=cell["is_discovery"],
        resamples=resamples,
        seed=seed,
    )


def layer_verdicts(draw, *, runs=RUNS, **world):
    """Verdicts where `draw` gives the layers' importance and their activity."""
    generator = np.random.default_rng(0)
    return Counter(
        judge_layers(layer_cell(generator, *draw(generator), **world), seed=seed).verdict
        for seed in range(runs)
    )


@pytest.mark.parametrize(
    ("layers", "kind"),
    [(5, "trend"), (9, "independent"), (9, "walk"), (9, "trend")],
)
def test_profiles_that_have_nothing_to_do_with_each_other_are_not_active_layers(layers, kind):
    def draw(generator):
        importance, activity = (depth_profile(generator, layers, kind) for _ in range(2))
        return importance, 0.4 + 0.15 * activity

    assert layer_verdicts(draw)["supported"] <= (ON_THRESHOLD if kind == "trend" else LEVEL) * RUNS


def fixed_verdicts(chosen, profile, *, runs=RUNS, n=50, noise=0.1):
    """Verdicts on tuples chosen beforehand, with activities that scatter around a profile."""
    generator = np.random.default_rng(0)
    verdicts = Counter()
    for seed in range(runs):
        activity = profile[:, None] + noise * generator.normal(size=(n, len(profile), 1))
        decision = active_layers.decide(
            activity=np.repeat(activity, 2, axis=2),
            chosen=chosen,
            layers=range(len(profile)),
            is_discovery=np.zeros(n, dtype=bool),
            resamples=300,
            seed=seed,
        )
        verdicts[decision.verdict] += 1
    return verdicts


TOP = [(1, 2), (2, 3, 9), (2, 9)]


def profile_along(chosen, layers, difference):
    """Activities that follow the tuples, with just this difference as the estimand."""
    weights = active_layers._weights(chosen, range(layers))
    return 0.4 + difference * weights / (weights @ weights)


def test_differences_on_the_threshold_are_supported_or_refuted_in_five_of_a_hundred():
    verdicts = fixed_verdicts(TOP, profile_along(TOP, 12, 0.05))
    assert verdicts["supported"] <= ON_THRESHOLD * RUNS
    assert verdicts["refuted"] <= ON_THRESHOLD * RUNS


def test_active_layers_are_found_and_idle_ones_refuted():
    def draw(generator, *, layers=15):
        importance, other = (depth_profile(generator, layers, "independent") for _ in range(2))
        return importance, 0.5 + 0.15 * (0.9 * importance + math.sqrt(1 - 0.9**2) * other)

    def opposite(generator):
        importance, activity = draw(generator)
        return importance, 1 - activity

    assert layer_verdicts(draw, runs=200)["supported"] >= 0.9 * 200
    assert layer_verdicts(opposite, runs=20)["refuted"] == 20


def test_few_layers_cannot_tell_and_say_so():
    decision = active_layers.decide(
        activity=np.full((40, 5, 2), 0.5) + profile_along([(0, 1)], 5, 0.4)[:, None],
        chosen=[(0, 1)],
        layers=range(5),
        is_discovery=np.zeros(40, dtype=bool),
        resamples=300,
    )
    assert (decision.verdict, decision.samples_to_decide) == ("inconclusive", None)
    assert decision.criteria[0].low == pytest.approx(0.4)
    assert decision.criteria[0].p_value == 1 / 2**4
    assert decision.reason.endswith("may be chance among 5 layers, and more samples would not tell")


def test_the_difference_weighs_layers_with_the_tuples_they_are_in():
    activity = np.zeros((8, 4, 2))
    activity[:, :, 0] = 2 * np.array([0.1, 0.3, 0.2, 0.9])
    decision = active_layers.decide(
        activity=activity,
        chosen=[(0, 1), (1, 2)],
        layers=[0, 1, 2],
        is_discovery=np.zeros(8, dtype=bool),
    )
    within, without = (0.1 + 2 * 0.3 + 0.2) / 4, (0.1 + 0.2) / 2
    assert decision.criteria[0].estimate == pytest.approx(within - without)
    assert decision.criteria[0].low == pytest.approx(decision.criteria[0].high)


def test_without_tuples_or_a_contrast_between_layers_nothing_is_concluded():
    arguments = {"activity": np.ones((8, 3, 2)), "is_discovery": np.arange(8) < 4}
    none = active_layers.decide(**arguments, chosen=[], layers=[0, 1])
    assert none.reason == "no tuple's effect and specific effect close a tenth of the gap"
    alike = active_layers.decide(**arguments, chosen=[(0, 1), (0, 2), (1, 2)], layers=[0, 1, 2])
    assert alike.reason == "each of the 3 layers is in equally many of the 3 tuples"
    arguments["activity"][4:] = np.nan
    empty = active_layers.decide(**arguments, chosen=[(0, 1)], layers=[0, 1, 2])
    assert empty.reason.startswith("no sample that decides has a high-ranking path")
    assert {d.verdict for d in (none, alike, empty)} == {"inconclusive"}
    assert not any(d.criteria for d in (none, alike, empty))


def test_top_tuples_are_the_ten_largest_pairs_and_triples_with_a_specific_effect():
    generator = np.random.default_rng(0)
    tuples = layer_tuples(5, 3)
    sizes = np.array([len(t) for t in tuples])
    effects = sizes * 1.0 + 0.1 * generator.normal(size=(40, len(tuples)))
    effects[:, sizes == 1] += 9
    specific = effects.copy()
    unspecific, inert = tuples.index((0, 1, 2)), tuples.index((1, 2, 4))
    specific[:, unspecific] = generator.normal(size=40)
    arguments = {
        "gap": np.full(40, 10.0),
        "is_discovery": np.arange(40) < 20,
        "degenerate": np.arange(len(tuples)) == inert,
    }
    chosen = active_layers.discover(effects, specific, tuples, **arguments)
    assert len(chosen) == 10
    assert {t for t in tuples if len(t) == 3} - set(chosen) == {(0, 1, 2), (1, 2, 4)}
    means = [effects[:20, tuples.index(t)].mean() for t in chosen]
    assert means == sorted(means, reverse=True)
    effects[20:], specific[20:] = -9, -9
    assert active_layers.discover(effects, specific, tuples, **arguments) == chosen
    assert active_layers.discover(effects, -abs(specific), tuples, **arguments) == ()


def test_the_picking_part_of_activities_has_no_say():
    generator = np.random.default_rng(0)
    importance = depth_profile(generator, 9, "independent")
    cell = layer_cell(generator, importance, 0.5 + 0.15 * importance)
    before = judge_layers(cell)
    assert before.criteria[0].n == 50
    cell["activity"][cell["is_discovery"]] = 7
    assert judge_layers(cell) == before
