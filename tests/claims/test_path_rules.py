"""False positives and power of the rule on paths, measured on simulated worlds.

As in `test_decision_rules`: strictly inside the null at most 5 % of the runs are `supported`, on a
threshold at most 7 %.
"""

import numpy as np
import pytest

from claims.instruction_vectors import test_tinst_path_dominance as dominance
from ivmethods.statistics.relative_lead import relative_lead
from tests.suite.test_decision_rules import halves

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
