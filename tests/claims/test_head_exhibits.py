"""What cells about head activity show, and the published numbers beside it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from claims.instruction_vectors import head_exhibits
from claims.instruction_vectors.head_exhibits import TaskPaths
from claims.instruction_vectors.needs import paths_by_k
from claims.instruction_vectors.settings import Settings
from ivevidence import Store
from ivmethods.paths.heads import active
from tests.measured import Measured, data_of

PUBLISHED = "allenai/OLMo-2-0425-1B-SFT"


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    measured = Measured(Store(tmp_path_factory.mktemp("store")))
    settings = Settings(path_k=(1, 2), max_paths=10**6)

    def task_paths(task, name=None):
        data = data_of(task, samples=6)
        if name:
            data.checkpoint = replace(data.checkpoint, name=name)
        asked = paths_by_k(data, settings).items()
        return TaskPaths(data, {k: measured(data, method) for k, method in asked})

    return task_paths


def test_activity_is_the_mean_share_of_the_samples_with_paths(make):
    task = make("adj_comp")
    tracing = task.by_k[1]
    found = head_exhibits.measured_activity(tracing, task.t_inst, seed=0)
    shares = tracing.uses[:, task.t_inst - tracing.first]
    np.testing.assert_allclose(found.mean, np.nanmean(shares, axis=0), atol=1e-6)
    none = replace(tracing, uses=np.full_like(tracing.uses, np.nan))
    assert head_exhibits.measured_activity(none, task.t_inst, seed=0) is None


def test_head_maps_leave_out_tasks_without_any_path(make):
    task = make("adj_comp")
    found = head_exhibits.measured_activity(task.by_k[1], task.t_inst, seed=0)
    figure = head_exhibits.head_maps({"adj_comp": found, "adj_ant": None}, "Heads")
    (panel,) = figure.data["panels"]
    assert np.array(panel["values"]).shape == (6, 4)
    assert panel["title"].startswith("adj_comp")


def test_places_name_the_sub_instructions_end_and_its_counterpart(make):
    own, contrast = make("anim_color"), make("can_fly")
    places = head_exhibits.places(own, contrast)
    assert places["T_inst"] == (own.t_inst, contrast.t_inst)
    assert places["T_inst - 1"] == (own.t_inst - 1, contrast.t_inst - 1)
    end_of_own, end_of_sub = places["end of the sub-instruction"]
    assert (end_of_own, end_of_sub < contrast.t_inst) == (own.t_inst, True)
    assert "end of the sub-instruction" not in head_exhibits.places(
        make("adj_comp"), make("adj_ant")
    )
    table = head_exhibits.sharing_by_place(own, contrast)
    assert [row[:2] for row in table.rows] == [(k, name) for k in (1, 2) for name in places]


def test_published_numbers_stand_beside_ours_for_the_papers_checkpoints_only(make):
    tasks = "adj_ant", "adj_comp"
    ours, papers = ([make(task, name) for task in tasks] for name in (None, PUBLISHED))
    assert head_exhibits.published_sharing(*ours) == []
    (table,) = head_exhibits.published_sharing(*papers)
    rows = {row[:4]: row[4:] for row in table.rows}
    assert rows[22, 1, 0, "0-2"][0] == "0.952"
    assert {row[1] for row in table.rows} == {1, 2}
    task = papers[1]
    by_k = {row[:2]: row[2:] for row in head_exhibits.agreement_between_k(task).rows}
    at = task.t_inst - task.by_k[1].first
    sets = [active(np.nanmean(task.by_k[k].uses[:, at, :2], axis=0)) for k in (1, 2)]
    both, either = (sets[0] & sets[1]).sum(), (sets[0] | sets[1]).sum()
    assert by_k["1, 2", "0-1"] == (pytest.approx(both / either), "0.84")
    assert len(head_exhibits.agreement_between_k(ours[1]).columns) == 3
    spearman = head_exhibits.correlation_between_k(task)
    assert spearman.columns[-1] == "published 1, 2"
    assert [row[-1] for row in spearman.rows] == ["0.78", "0.37", "0.36", "-0.14", "0.79", "0.21"]
    plain = head_exhibits.correlation_between_k(ours[1])
    assert plain.columns == ("layer", "k = 1, 2")


def test_layers_stand_beside_the_tuples_that_hold_them(make):
    task = make("adj_comp")
    found = head_exhibits.measured_activity(task.by_k[1], task.t_inst, seed=0)
    table = head_exhibits.layers_and_tuples(found, None, [(0, 2), (1, 2)], range(4))
    assert [row[:2] for row in table.rows] == [(0, 1), (1, 1), (2, 2), (3, 0)]
    assert table.rows[2][2] == pytest.approx(found.mean[2].mean())
    assert table.rows[2][3:] == (None, (found.mean[2] > 0.1).sum())


def test_nothing_stands_before_a_t_inst_at_the_beginning():
    data = SimpleNamespace(
        samples=lambda: [SimpleNamespace(t_inst=0)], task=SimpleNamespace(sub_instruction=None)
    )
    task = TaskPaths(data, {})
    assert head_exhibits.places(task, task) == {"T_inst": (0, 0), "T_inst + 1": (1, 1)}
