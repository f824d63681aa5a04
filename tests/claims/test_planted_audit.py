"""Invented tables in the published format: the sentence is true of some and false of others."""

import csv
import importlib.resources
import shutil
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from claims.instruction_vectors.published import MODELS, files
from claims.instruction_vectors.published.audit import SAMPLES, audited_columns
from claims.instruction_vectors.published.files import TASKS
from ivevidence import read_evidence
from ivfixtures.suite import run  # noqa: F401 (once, or each run in this process has classes of its own)

PACKAGED = importlib.resources.files("claims.instruction_vectors.published") / "data"


def printed(share, generator):
    """The paper's test on samples of which a share has f(ij) >= f(i) + f(j), as it prints it."""
    interaction = generator.normal(size=SAMPLES) + stats.norm.ppf(share)
    result = stats.ttest_1samp(interaction >= 0, 50.0)  # a share is held against fifty: p is tiny
    return f"{result.statistic:.3e}", f"{result.pvalue:.3e}"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Put invented tests of pairs, which hold on a share of samples, in place of Tables 5-8."""
    shutil.copytree(str(PACKAGED), tmp_path / "data")
    packaged = importlib.resources.files
    monkeypatch.setattr(
        importlib.resources,
        "files",
        lambda name: tmp_path if name == "claims.instruction_vectors.published" else packaged(name),
    )

    def write(share):
        generator = np.random.default_rng(0)
        with (PACKAGED / "superadditivity_ttest.csv").open(encoding="utf-8") as file:
            header = next(csv.reader(file))
        with (tmp_path / "data" / "superadditivity_ttest.csv").open("w") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(header)
            for model, task in ((model, task) for model in MODELS for task in TASKS):
                table = 5 + 2 * (model.size == "7b") + (TASKS.index(task) > 3)
                at = table, model.size, model.stage, task
                for k in range(1, 11):
                    rows.writerow((*at, f"0-{k}", k, *printed(share, generator)))
        forget()

    yield write
    monkeypatch.undo()
    forget()


def forget():
    files.pair_test_rows.cache_clear()
    audited_columns.cache_clear()


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.9, "supported"), (0.5, "inconclusive"), (0.2, "refuted")]
)
def test_the_sentence_is_supported_where_it_is_true_and_not_where_it_is_false(
    published, pytester, share, verdict
):
    published(share)
    tests = files.pair_test_rows()
    assert max(test.p.value for test in tests) < 1e-150  # all look significant beyond all doubt
    pytester.runpytest_inprocess(
        "--pyargs", "claims.instruction_vectors.test_published_audit", "-p", "no:cacheprovider"
    )
    evidence = read_evidence(pytester.path / "reports" / "claims.evidence.json")
    assert not evidence.errors
    whole, *columns = evidence.cells
    assert whole.decision.verdict == verdict
    assert Counter(cell.decision.verdict for cell in columns) == {verdict: len(columns)}
