"""Published audit (section 5.1, Tables 5-8): what the printed tests of superadditivity show."""

from collections.abc import Sequence

import pytest

from ivevidence.records import Claim, Criterion, Decision
from ivfixtures.published import exhibits
from ivfixtures.published.audit import SAMPLES, AuditedTest, audited_columns
from ivfixtures.published.cell import PublishedCell
from ivmethods.statistics import ALPHA

CLAIM = Claim(
    name="published_audit",
    title="Tables 5-8 show the inequality for all models and tasks",
    paper="Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930",
    section="5.1, Tables 5-8",
    quote="We find that, for all models and tasks, the inequality indeed holds to a significant "
    "degree across samples",
    estimand="Of the pairs of layers that the paper tests for a model and task: the share on which "
    "f(ij) >= f(i) + f(j) holds on significantly more than half of the samples. No model is run: "
    "the paper's t-tests hold a share of samples against 50.0 and so reject whatever the data, but "
    "each printed t and p can be decoded to the number of samples.",
    rule=f"A printed t and p stand for every count of {SAMPLES} samples that prints alike (-inf: 0 "
    f"or {SAMPLES}). Tests of one layer and of pairs with the last block are degenerate and not "
    f"judged. The others take the exact one-sided binomial test, Holm over the judged tests of "
    f"their table. A test is supported if p is below {ALPHA:.0%} with the table's smallest "
    f"counts, refuted if it is not even with the largest ones, inconclusive otherwise. A model and "
    f"task is supported if all its judged tests are, refuted if any of them is refuted, "
    f"inconclusive otherwise, not applicable if the paper prints none; and so is the whole of "
    f"models and tasks. Refuted says that the prints do not show the inequality to hold, not that "
    f"it fails.",
    thresholds={"alpha": ALPHA},
    quantifier="all",  # "for all models and tasks"
)


def verdict(test: AuditedTest) -> str:
    """The verdict on one printed test; why there is none, where it is not judged."""
    if test.least is None or test.most is None:
        return "not printed" if test.decoding is None else "not judged"
    if test.least.holm < ALPHA:
        return "supported"
    return "inconclusive" if test.most.holm < ALPHA else "refuted"


def decide(column: Sequence[AuditedTest]) -> Decision:
    """The verdict on the tests of one model and task, as CLAIM.rule says."""
    found = [verdict(test) for test in column if test.judged]
    if not found:
        printed = any(test.decoding for test in column)
        reason = "every printed test is degenerate" if printed else "the paper prints no test"
        return Decision("not_applicable", reason)
    reason = f"{found.count('supported')} of {len(found)} judged tests are significant"
    if refuted := found.count("refuted"):
        below = sum(test.most is not None and test.most.below < ALPHA for test in column)
        reason += f", not significant: {refuted} (on significantly less than half: {below})"
    if unknown := found.count("inconclusive"):
        reason += f", open as several counts print alike: {unknown}"
    return _decision(
        "share of significant tests",
        f"Holm p below {ALPHA:.0%}; bounds: with the smallest and the largest counts that print so",
        found,
        reason,
    )


def decide_all(decisions: Sequence[Decision]) -> Decision:
    """The verdict on all models and tasks, from those on each."""
    found = [d.verdict for d in decisions if d.verdict != "not_applicable"]
    reason = (
        f"of {len(found)} models and tasks {found.count('supported')} are supported, "
        f"{found.count('refuted')} refuted, {found.count('inconclusive')} inconclusive; "
        f"without a judged test: {len(decisions) - len(found)}"
    )
    description = "of models and tasks; bounds: the supported ones, and those that are not refuted"
    return _decision("share that is supported", description, found, reason)


@pytest.mark.claim(CLAIM, per="published")
def test_published_audit(cell: PublishedCell) -> None:
    """Tables 5-8 show the inequality for all models and tasks."""
    audited = audited_columns()
    decisions = {place: decide(column) for place, column in audited.items()}
    if cell.model is None:
        cell.conclude(
            decide_all(list(decisions.values())),
            figures=[exhibits.shares(audited)],
            tables=[
                exhibits.summary(audited, decisions),
                exhibits.lists(audited.values()),
                exhibits.tests(audited.values(), verdict),
            ],
        )
        return
    column = audited[cell.model.name, cell.task]
    cell.conclude(
        decisions[cell.model.name, cell.task],
        figures=[exhibits.counts(column)],
        tables=[exhibits.tests([column], verdict), exhibits.lists([column])],
        notes=exhibits.notes(column),
    )


def _decision(name: str, description: str, found: Sequence[str], reason: str) -> Decision:
    """All of `found` must be supported: the threshold lies half of one below all of them."""
    n = len(found)
    low, high = found.count("supported") / n, (n - found.count("refuted")) / n
    leading = Criterion(name, description, low, low, high, 1 - 0.5 / n, n)
    verdicts = {"beyond": "supported", "short": "refuted", "open": "inconclusive"}
    return Decision(verdicts[leading.outcome], reason, (leading,), None)
