"""The paper's top tuples beside measured ones, on made-up effects: its weights are not here."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from claims.instruction_vectors.patching_exhibits import released
from claims.instruction_vectors.published import top_tuples
from claims.instruction_vectors.published_exhibits import published_lists, ranked
from claims.instruction_vectors.views import Patched
from ivmethods.model.metrics import METRICS
from ivmethods.patching.sweep import Sweep, layer_tuples

SFT = "allenai/OLMo-2-0425-1B-SFT"


def made_up(means, *, layers=16, order=2, metric="rr"):
    """A sweep of 4 samples whose mean effects on one metric are as given, 0 elsewhere."""
    tuples = layer_tuples(layers, order)
    effects = torch.zeros(len(METRICS), 4, len(tuples))
    scatter = torch.tensor([-0.01, 0.01, -0.02, 0.02])
    for t, mean in means.items():
        effects[METRICS.index(metric), :, tuples.index(t)] = mean + scatter
    target = torch.zeros(len(METRICS), 4)
    return Sweep(tuples, effects, target, torch.zeros(len(tuples), dtype=torch.bool))


def lists_of(sweep, released, *, name=SFT, task="adj_ant", metric="rr"):
    """What is shown beside a sweep, of whose control and runs nothing is."""
    data = SimpleNamespace(checkpoint=SimpleNamespace(name=name), name=task)
    picking = np.zeros(4, dtype=bool)
    view = Patched(metric, "neutral sentences", sweep, sweep, {}, picking, 0)
    return published_lists(data, view, released)


def printed(metric="rr", order=2):
    return {
        row.layers: row.contribution.value
        for row in top_tuples(SFT, "adj_ant", metric, order=order)
    }


def test_effects_as_printed_agree_and_others_do_not():
    published = printed()
    distinct = {t: v + 0.001 * (10 - i) for i, (t, v) in enumerate(published.items())}
    elsewhere = {(i, 15): 1.0 + i for i in range(10)}
    released = made_up(distinct, metric="rr_released")
    lists, agreement = lists_of(made_up(elsewhere), released)
    assert lists.title.startswith("Table 9: the paper's best tuples of one and two layers, rr")
    assert [row[0] for row in lists.rows] == list(range(1, 11))
    assert [row[1] for row in lists.rows] == [", ".join(map(str, t)) for t in published]
    assert lists.rows[0][2] == "0.14"
    assert lists.columns[3:] == (
        *("mean, paper protocol", "rank, paper protocol"),
        *("mean, released protocol", "rank, released protocol"),
    )
    assert [row[6] for row in lists.rows] == list(range(1, 11))
    assert [row[5] for row in lists.rows] == pytest.approx(list(distinct.values()), abs=1e-6)
    paper, released = agreement.rows
    both = set(published) & set(elsewhere)
    assert paper[:5] == ("one and two layers", "paper", len(both), 10, 16 + 120)
    assert released[:4] == ("one and two layers", "released", 10, 10)
    assert released[5] > 0.9


def test_lists_of_three_layers_are_held_against_three_layers_only():
    pairs, triples = printed("logit"), printed("logit", order=3)
    sweep = made_up(pairs | triples, order=3, metric="logit")
    released = made_up(pairs, metric="logit")
    *lists, agreement = lists_of(sweep, released, metric="logit")
    assert len(lists) == 2
    assert "three layers" in lists[1].title
    assert [row[:5] for row in agreement.rows] == [
        ("one and two layers", "paper", 10, 10, 136),
        ("one and two layers", "released", 10, 10, 136),
        ("three layers", "paper", 10, 10, 560),
    ]
    assert len(lists_of(released, released, metric="logit")) == 2


@pytest.mark.parametrize(
    "other",
    [{"name": "tiny-olmo2-sft"}, {"name": f"./{SFT}"}, {"task": "my_task"}, {"metric": "logprob"}],
)
def test_nothing_is_shown_where_the_paper_has_no_list(other):
    assert lists_of(made_up({}), made_up({}), **other) == []


def test_no_list_of_pairs_without_pairs():
    assert lists_of(made_up({}, order=1), made_up({})) == []


def test_tuples_that_were_not_measured_are_left_open():
    small = made_up({(1, 2): 1.0}, layers=6)
    lists, agreement = lists_of(small, small)
    beyond = [row for row in lists.rows if any(int(p) > 5 for p in row[1].split(", "))]
    assert beyond
    assert all(row[3:] == (None,) * 4 for row in beyond)
    assert {row[3] for row in agreement.rows} == {10}


def test_ranks_share_their_best_place_and_correlations_need_variation():
    sweep = made_up({(0,): 2.0, (1,): 1.0, (0, 1): 1.0}, layers=3)
    found = ranked(sweep, "rr", 2)
    assert found.at((0,)) == pytest.approx((2.0, 1))
    assert found.at((1,))[1] == found.at((0, 1))[1] == 2
    assert found.at((2,))[1] == 4
    assert found.at((7,)) is None
    published = top_tuples(SFT, "adj_ant", "rr")
    assert ranked(made_up({}), "rr", 2).spearman(published) is None
    assert found.spearman(published[:2]) is None


def test_a_rank_correlation_is_scipys():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=10)
    published = top_tuples(SFT, "adj_ant", "rr")
    sweep = made_up(dict(zip(printed(), values, strict=True)))
    expected = stats.spearmanr([row.contribution.value for row in published], values).statistic
    assert ranked(sweep, "rr", 2).spearman(published) == pytest.approx(expected)


def test_ties_of_the_released_scripts_stand_row_by_row_as_in_the_tables():
    """Table 9, adj_comp: (2, 3), (3, 3), (3, 14) and (3, 15) are printed alike, in this order."""
    tied = [(2, 3), (3,), (3, 14), (3, 15)]
    sweep = made_up(dict.fromkeys(tied, 0.1), metric="rr_released")
    rows = released(sweep, "rr").rows
    assert [row[0] for row in rows[:5]] == ["2, 3", "3", "3, 14", "3, 15", "0"]
