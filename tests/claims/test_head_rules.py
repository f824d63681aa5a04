"""What the rules on heads do at their edges; their worlds are in `benchmarks/worlds`."""

import numpy as np
import pytest

from benchmarks.worlds.active_layers import TOP
from claims.instruction_vectors import test_active_layers as active_layers
from claims.instruction_vectors import test_head_sharing as head_sharing
from ivmethods.patching.sweep import layer_tuples

# ------------------------------------------------------------------------------------- head sharing


def shares(active, *, n=100, layers=6, heads=4):
    """Activities of 0.5 in the given heads, by number, and of 0 elsewhere."""
    means = np.where(np.isin(np.arange(layers * heads), active), 0.5, 0.0)
    return np.tile(means.reshape(1, layers, heads), (n, 1, 1))


@pytest.mark.parametrize(
    ("active", "group"), [(range(24), "first fifth"), ([0, 1, 9], "last third")]
)
def test_nothing_to_hold_against_chance_is_inconclusive(active, group):
    decision = head_sharing.decide(own=shares(active), contrast=shares(active))
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason.startswith(f"of the {group} of the layers, all heads are active")


@pytest.mark.parametrize(
    ("layers", "heads", "tests", "least"), [(6, 4, 24, 59), (16, 16, 288, 83), (32, 32, 1088, 96)]
)
def test_too_few_samples_to_tell_an_idle_head_decide_nothing_and_how_many_would(
    layers, heads, tests, least
):
    last = layers * heads
    own, contrast = (
        shares([0, 1, at], n=2 * least, layers=layers, heads=heads) for at in (last - 1, last - 2)
    )
    own[::2] = np.nan
    assert head_sharing.decide(own=own, contrast=contrast).verdict == "supported"
    contrast[1] = np.nan
    decision = head_sharing.decide(own=own, contrast=contrast)
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason == (
        f"{least - 1} of {2 * least} samples have a high-ranking path from T_inst in both tasks, "
        f"but should be at least {least} to tell an idle head from 0.1 among {tests} activities"
    )
    assert decision.samples_to_decide == 2 * least + 3
    contrast[:] = np.nan
    assert head_sharing.decide(own=own, contrast=contrast).samples_to_decide is None


# ------------------------------------------------------------------------------------ active layers


def along(difference):
    """Activities that follow TOP among 9 layers, with just this difference as the estimand."""
    weights = active_layers.weights_of(TOP, range(9))
    return 0.4 + difference * weights / (weights @ weights)


def judged(profile, other=None, *, n=200, chosen=TOP, layers=None, **changed):
    """The verdict on activities that are the same on all samples and heads."""
    layers = range(len(profile)) if layers is None else layers
    other = np.full(len(profile), 0.4) if other is None else other
    every = {
        "own": np.tile(np.asarray(profile)[None, :, None], (n, 1, 2)),
        "contrast": np.tile(np.asarray(other)[None, :, None], (n, 1, 2)),
        "rr_gap": np.ones(n),
        "is_discovery": np.arange(n) % 4 == 0,
    }
    every |= changed
    return active_layers.decide(chosen=chosen, layers=layers, resamples=400, **every)


def test_layers_are_supported_only_beyond_the_contrast_and_refuted_by_their_own_activity():
    assert judged(along(0.2)).verdict == "supported"
    refuted = judged(along(-0.2), along(-0.4))
    assert refuted.verdict == "refuted"
    assert [c.outcome for c in refuted.criteria] == ["short", "beyond"]
    alike = judged(along(0.2), along(0.2))
    assert alike.verdict == "inconclusive"
    assert alike.reason.startswith("no more than depth may explain: the same, activity minus")


def test_without_headroom_nothing_is_concluded_whatever_was_measured():
    decision = judged(along(0.2), rr_gap=np.full(200, 0.099))
    assert (decision.verdict, decision.criteria) == ("inconclusive", ())
    assert decision.reason.startswith("no headroom: mean rr gap 0.099")


def test_few_layers_cannot_tell_and_say_so():
    profile = 0.4 + 0.6 * active_layers.weights_of([(1, 2)], range(6))
    assert judged(profile, chosen=[(1, 2)]).verdict == "supported"
    for few in (profile[:5], 1 - profile[:5]):
        decision = judged(few, chosen=[(1, 2)])
        assert (decision.verdict, decision.criteria) == ("not_applicable", ())
        assert decision.reason.startswith("5 layers count, but should be at least 6")


def test_a_difference_that_may_be_chance_among_layers_is_not_decided_by_samples():
    decision = judged(along(0.2) + 0.5 * (np.arange(9) == 3))
    assert (decision.verdict, decision.samples_to_decide) == ("inconclusive", None)
    assert decision.criteria[1].p_value > 0.05
    assert decision.reason.endswith("may be chance among 9 layers, and more samples would not tell")


def test_the_difference_weighs_layers_with_the_tuples_they_are_in():
    own = np.array([0.1, 0.3, 0.2, 0.0, 0.0, 0.0, 0.9])
    decision = judged(own, own / 2, chosen=[(0, 1), (1, 2)], layers=range(6))
    within, without = (0.1 + 2 * 0.3 + 0.2) / 4, (0.1 + 0.2) / 8
    raw, specific = (c.estimate for c in decision.criteria)
    assert raw == pytest.approx(within - without)
    assert specific == pytest.approx(raw / 2)


def test_without_tuples_or_a_contrast_between_layers_nothing_is_concluded():
    none = judged(along(0.2), chosen=[])
    assert none.reason == "no tuple's effect and specific effect close a tenth of the gap"
    alike = judged(along(0.2), chosen=[(k, (k + 1) % 9) for k in range(9)])
    assert alike.reason == "each of the 9 layers is in equally many of the 9 tuples"
    assert {d.verdict for d in (none, alike)} == {"inconclusive"}
    assert not any(d.criteria for d in (none, alike))


@pytest.mark.parametrize("task", ["own", "contrast"])
def test_samples_that_decide_have_paths_under_both_instructions(task):
    activity = np.tile(along(0.2)[None, :, None], (200, 1, 2))
    activity[40:] = np.nan
    decision = judged(along(0.2), **{task: activity})
    assert decision.criteria[0].n == 30
    activity[18:] = np.nan
    few = judged(along(0.2), **{task: activity})
    assert (few.verdict, few.criteria) == ("inconclusive", ())
    assert few.reason.startswith("13 samples that decide have a high-ranking path from T_inst")
    assert few.reason.endswith("but should be at least 15")


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
    own = np.clip(along(0.2) + 0.1 * generator.normal(size=(200, 9)), 0, 1)[:, :, None].repeat(
        2, axis=2
    )
    before = judged(along(0.2), own=own)
    assert before.criteria[0].n == 150
    own[::4] = 1 - own[::4]
    assert judged(along(0.2), own=own) == before
