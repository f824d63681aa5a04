"""Published audit (section 5.1, Tables 5-8): what the printed tests of superadditivity show."""

from collections.abc import Sequence

from claims.instruction_vectors.paper import PAPER
from claims.instruction_vectors.published import exhibits
from claims.instruction_vectors.published.audit import SAMPLES, AuditedTest, audited_columns
from claims.instruction_vectors.published.cell import PublishedCell, PublishedTables
from ivevidence.records.cells import Criterion, Decision
from ivfixtures.suite.claims import claim
from ivmethods.statistics.univariate import ALPHA

TABLES = 4

CLAIM = PAPER.claim(
    "published_audit",
    level="audit",
    title="Tables 5-8 show the inequality for all models and tasks",
    section="5.1, Tables 5-8",
    quote="We find that, for all models and tasks, the inequality indeed holds to a significant "
    "degree across samples",
    estimand="Of the pairs of layers that the paper tests for a model and task: the share on which "
    "f(ij) >= f(i) + f(j) holds on significantly more than half of the samples. No model is run: "
    "the paper's t-tests hold a share of samples against 50.0 and so reject whatever the data, but "
    "each printed t and p tell the number of samples.",
    rule=f"A printed t and p stand for every count of {SAMPLES} samples that prints alike (-inf: 0 "
    f"or {SAMPLES}). Tests of one layer and of pairs with the last block are degenerate and not "
    f"judged. The others take exact one-sided binomial tests of both sides, Holm over the judged "
    f"tests of their table. A test is supported if 'more than half' has p below {ALPHA:.0%} with "
    f"the table's smallest counts, refuted if 'less than half' has with the largest ones, "
    f"inconclusive otherwise: not shown, or not told by the print. A model and task is supported "
    f"if all its judged tests are, refuted if any of them is refuted, inconclusive otherwise, not "
    f"applicable if the paper prints none; and so is the whole of models and tasks, where 'less "
    f"than half' takes p below {ALPHA:.0%} / {TABLES}, as there are {TABLES} tables.",
    thresholds={"alpha": ALPHA},
    quantifier="all",  # "for all models and tasks"
)


def verdict(test: AuditedTest, *, ways: int = 1) -> str:
    """The verdict on one printed test; why there is none, where it is not judged.

    ways: families of tests in which one that is refuted is enough; they share the alpha.
    """
    if test.least is None or test.most is None:
        return "not printed" if test.decoding is None else "not judged"
    if test.least.holm < ALPHA:
        return "supported"
    return "refuted" if test.most.below < ALPHA / ways else "inconclusive"


def decide(column: Sequence[AuditedTest], *, ways: int = 1) -> Decision:
    """The verdict on the tests of one model and task, as CLAIM.rule says.

    ways: as for `verdict`.
    """
    verdicts = [verdict(test, ways=ways) for test in column if test.judged]
    if not verdicts:
        printed = any(test.decoding for test in column)
        reason = "every printed test is degenerate" if printed else "the paper prints no test"
        return Decision("not_applicable", reason)
    reason = f"{verdicts.count('supported')} of {len(verdicts)} judged tests are significant"
    if refuted := verdicts.count("refuted"):
        reason += f", on significantly less than half: {refuted}"
    unknown = sum(map(_is_untold, column))
    if unshown := verdicts.count("inconclusive") - unknown:
        reason += f", not shown: {unshown}"
    if unknown:
        reason += f", open as several counts print alike: {unknown}"
    return _decision(
        "share of significant tests",
        f"Holm p below {ALPHA:.0%}; low: of more than half of the samples, with the smallest counts"
        "; high: all but those of less than half, with the largest ones",
        verdicts,
        reason,
        level=_level([test for test in column if test.judged], verdicts),
    )


def decide_all(decisions: Sequence[Decision]) -> Decision:
    """The verdict on all models and tasks, from those on each (with `ways=TABLES`)."""
    found = [d.verdict for d in decisions if d.verdict != "not_applicable"]
    reason = (
        f"of {len(found)} models and tasks {found.count('supported')} are supported, "
        f"{found.count('refuted')} refuted, {found.count('inconclusive')} inconclusive; "
        f"without a judged test: {len(decisions) - len(found)}"
    )
    description = "of models and tasks; bounds: the supported ones, and those that are not refuted"
    return _decision("share that is supported", description, found, reason)


@claim(CLAIM, on=PublishedTables())
def test_published_audit(cell: PublishedCell) -> None:
    """Tables 5-8 show the inequality for all models and tasks."""
    audited = audited_columns()
    decisions = {place: decide(column) for place, column in audited.items()}
    if cell.model is None:
        cell.conclude(
            decide_all([decide(column, ways=TABLES) for column in audited.values()]),
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


def _is_untold(test: AuditedTest) -> bool:
    """Whether one of the counts that print so is significant, on either side, but not all are."""
    if test.least is None or test.most is None or verdict(test) != "inconclusive":
        return False
    return test.most.holm < ALPHA or test.least.below < ALPHA


def _level(judged: Sequence[AuditedTest], verdicts: Sequence[str]) -> float | None:
    """The p-value of a model and task: all its tests are significant, or any is on the other side.

    Holm's p-values of `below` are those of a table, so that any test may be the one.
    """
    if "refuted" in verdicts:
        return min(test.most.below for test in judged if test.most)
    if {*verdicts} == {"supported"}:
        return max(test.least.holm for test in judged if test.least)
    return None


def _decision(
    name: str, description: str, found: Sequence[str], reason: str, *, level: float | None = None
) -> Decision:
    """All of `found` must be supported: the threshold lies half of one below all of them."""
    n = len(found)
    low, high = found.count("supported") / n, (n - found.count("refuted")) / n
    leading = Criterion(name, description, low, low, high, 1 - 0.5 / n, n, level=level)
    verdicts = {"beyond": "supported", "short": "refuted", "open": "inconclusive"}
    return Decision(verdicts[leading.outcome], reason, (leading,), None)
