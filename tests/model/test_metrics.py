import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ivmethods.model.metrics import METRICS, NotFiniteError, require_scores, score

# Few values, so that ties are common.
logit_rows = hnp.arrays(np.float32, (4, 9), elements=st.sampled_from([-2.0, -0.5, 0.0, 1.0, 3.0]))


def scored(logits, answers, contrasts):
    values = score(torch.from_numpy(logits), torch.tensor(answers), torch.tensor(contrasts))
    return dict(zip(METRICS, values.numpy(), strict=True))


@given(logits=logit_rows, answers=st.lists(st.integers(0, 8), min_size=4, max_size=4))
def test_metrics_equal_their_definitions_row_by_row(logits, answers):
    found = scored(logits, answers, [0, 1, -1, 8])
    for row, (answer, contrast) in enumerate(zip(answers, [0, 1, -1, 8], strict=True)):
        values = logits[row].astype(np.float64)
        rank = 1 + sum(1 for value in values if value > values[answer])
        assert found["rr"][row] == np.float32(1 / rank)
        assert found["rr_released"][row] == np.float32(1 / rank)
        assert found["logit"][row] == values[answer]
        logprob = values[answer] - np.log(np.exp(values).sum())
        assert abs(found["logprob"][row] - logprob) < 1e-5
        if contrast < 0:
            assert np.isnan(found["logit_diff"][row])
        else:
            assert found["logit_diff"][row] == values[answer] - values[contrast]


@given(logits=logit_rows, shift=st.floats(-5, 5))
def test_rank_and_logprob_ignore_a_shift_of_all_logits(logits, shift):
    one = scored(logits, [0, 1, 2, 3], [4] * 4)
    other = scored(logits + np.float32(shift), [0, 1, 2, 3], [4] * 4)
    assert np.allclose(one["logprob"], other["logprob"], atol=1e-4)
    assert np.allclose(one["logit"] + shift, other["logit"], atol=1e-4)


def test_the_released_rr_is_minus_one_beyond_rank_1000_only():
    logits = -torch.arange(1200.0)[None].repeat(3, 1)
    values = score(logits, torch.tensor([999, 1000, 0]), torch.tensor([-1] * 3))
    released = values[METRICS.index("rr_released")]
    assert torch.allclose(released, torch.tensor([1 / 1000, -1.0, 1.0]))
    assert torch.allclose(values[0], torch.tensor([1 / 1000, 1 / 1001, 1.0]))


def test_half_precision_logits_are_scored_in_float32():
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    assert score(logits, torch.tensor([1]), torch.tensor([0])).dtype == torch.float32


@given(
    logits=hnp.arrays(
        np.float32,
        (4, 9),
        elements=st.sampled_from([-np.inf, -2.0, 0.0, 0.0, 1.0, 1.0, 3.0, np.inf, np.nan]),
    )
)
def test_a_row_without_a_ranking_has_no_metric_and_masked_tokens_do_not_matter(logits):
    answer, contrast = 0, 8
    found = scored(logits, [answer] * 4, [contrast] * 4)
    for row, values in enumerate(logits):
        own = values[answer]
        if np.isnan(values).any() or (values == np.inf).any() or own == -np.inf:
            assert all(np.isnan(found[name][row]) for name in METRICS)
            continue
        assert found["rr"][row] == np.float32(1 / (1 + (values > own).sum()))
        assert np.isfinite([found[name][row] for name in METRICS if name != "logit_diff"]).all()
        assert np.isfinite(found["logit_diff"][row]) == (values[contrast] != -np.inf)


def test_scores_that_are_not_finite_are_refused_but_for_a_contrast_that_is_not_there():
    scores, contrast = torch.zeros(len(METRICS), 3, 2), torch.tensor([4, -1, 4])
    scores[METRICS.index("logit_diff"), 1] = torch.nan
    require_scores(scores, contrast, "effects")
    for metric, sample in ((0, 1), (METRICS.index("logit_diff"), 0)):
        broken = scores.clone()
        broken[metric, sample, 1] = torch.inf
        with pytest.raises(NotFiniteError, match=r"^effects=NaN or infinite in 1 of 3 samples"):
            require_scores(broken, contrast, "effects")
