"""What a cell leaves behind: claim, decision, figures, tables, prompts, provenance."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import field
from types import NoneType
from typing import Annotated, Any

from pydantic import BeforeValidator

from ivevidence.figures.data import FIGURE_DATA, Criterion
from ivevidence.records.codec import (
    Count,
    EvidenceError,
    Json,
    Many,
    Marks,
    Record,
    Value,
    defined,
    one_of,
)

VERDICTS = ("supported", "refuted", "inconclusive", "not_applicable")
PLANTED = ("holds", "fails", "unknown")
QUANTIFIERS = ("all", "most", "exists")
# What a claim's evidence is, from weak to strong. Our scale; see docs/verdicts.md.
LEVELS = {
    "audit": "printed numbers, no model is run",
    "L0": "behavioural: inputs and outputs only",
    "L1": "observational: internals are read, not changed",
    "L2": "interventional: internals are changed",
    "L3": "interventional, with no-op, matched null, and picking apart from deciding",
}
DIRECTIONS = ("necessary", "sufficient", "both")
WHOLE = "all"  # stage and task of a cell about all others of its claim
UNDRIFTED = "changed without drift"
# What came with a verdict that is not the expected one.
CHANGES = (UNDRIFTED, "with a drift", "same values", "another rule", "nothing to compare")

CellName = tuple[str, str]


def _entry(value: Any) -> Any:
    if type(value := defined(value)) not in (str, int, float, NoneType):
        raise EvidenceError("", value, "a text, a number or None")
    return value


Entry = Annotated[str | int | float | None, BeforeValidator(_entry)]
Verdict = Annotated[str, one_of(*VERDICTS)]
Quantifier = Annotated[str, one_of(*QUANTIFIERS)]
Level = Annotated[str, one_of(*LEVELS)]
Direction = Annotated[str, one_of(*DIRECTIONS)]


class Claim(Record):
    """A claim of a paper, quoted, with what is estimated and the rule that decides.

    `quantifier`: whether the quote speaks of `all` cells, of `most`, or says that one `exists`;
    None where that is not stated. `by_metric`: metrics are questions of their own; otherwise the
    claim holds where it holds in all of them. `level`: what its evidence is, one of `LEVELS`; None
    in files from before there were any. `direction`: of a claim that intervenes, whether what is
    changed is `necessary` (taking it away breaks the behaviour), `sufficient` (putting it in brings
    it about), or `both`.
    """

    name: str
    title: str
    paper: str
    section: str
    quote: str
    estimand: str
    rule: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    quantifier: Quantifier | None = None
    by_metric: bool = False
    level: Level | None = None
    direction: Direction | None = None

    def __post_init__(self) -> None:
        if self.level == "L3" and self.direction is None:
            expected = f"one of {', '.join(DIRECTIONS)}, as level=L3"
        elif self.level not in (None, "L2", "L3") and self.direction is not None:
            expected = f"None, as level={self.level} changes nothing inside a model"
        else:
            return
        raise EvidenceError("direction", self.direction, expected, where=f"Claim {self.name}")


class Decision(Record):
    """A verdict, the reason in words, and the criteria it rests on, the most telling one first.

    `samples_to_decide` is the number of samples that would make an inconclusive verdict decisive.
    `chosen` says in words what the verdict is on, where the claim picks that (layers, pairs).
    `gate` is the `cell_id` of the cell whose verdict decided this one, if that was all.
    """

    verdict: Verdict
    reason: str
    criteria: Many[Criterion] = ()
    samples_to_decide: Count | None = None
    chosen: str = ""
    gate: str | None = None

    def __post_init__(self) -> None:
        outcomes = {c.outcome for c in self.criteria}
        # `inconclusive` may stand against any: rules have reasons beside their criteria.
        if self.verdict == "supported" and outcomes - {"beyond"}:
            self._refuse("with every criterion beyond its threshold")
        if self.verdict == "refuted" and outcomes and "short" not in outcomes:
            self._refuse("with a criterion short of its threshold")

    def _refuse(self, expected: str) -> None:
        got = ", ".join(f"{c.name} {c.outcome}" for c in self.criteria)
        raise EvidenceError(f"criteria of a {self.verdict} verdict", got, expected, "Decision")


class Figure(Record):
    """A figure as data, with the fields of its kind; `ivevidence.figures.kinds.draw` draws it."""

    kind: Annotated[str, one_of(*FIGURE_DATA)]
    title: str
    caption: str
    data: Mapping[str, Json]

    def __post_init__(self) -> None:
        try:
            FIGURE_DATA[self.kind].from_json(self.data)
        except EvidenceError as error:
            raise error.within("data", where="Figure") from None


class Table(Record):
    """Rows of texts and numbers under named columns."""

    title: str
    columns: Many[str]
    rows: Many[Many[Entry]]
    caption: str = ""

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise EvidenceError(
                    f"rows[{i}]", list(row), f"{len(self.columns)} entries long", where="Table"
                )


class Prompt(Record):
    """A prompt as its tokens, what its marked positions are, the answer and the output.

    `token`: the answer's token that is judged.
    """

    label: str
    tokens: Many[str]
    marks: Marks
    answer: str
    output: str
    token: str = ""

    def __post_init__(self) -> None:
        for position in self.marks:
            if not 0 <= position < len(self.tokens):
                expected = f"a position among {len(self.tokens)} tokens"
                raise EvidenceError("marks", position, expected, where="Prompt")


class Expectation(Record):
    """What a cell was found to be before: its verdict, and the criterion it rested on.

    `values` is the digest under which a store may hold that cell's per-sample values, `gate` the
    `cell_id` of the cell whose verdict decided this one.
    """

    verdict: Verdict
    criterion: str | None = None
    estimate: Value = None
    low: Value = None
    high: Value = None
    n: Count | None = None
    values: str | None = None
    gate: str | None = None


class Drift(Record):
    """How far the mean of named per-sample values moved: after minus before, in their unit.

    `low`, `high`: two-sided bounds, None where the samples are too few for them. `paired` where
    both are of the same samples; `n` values before and after.
    """

    name: str
    estimate: float
    low: Value
    high: Value
    p_value: float
    n: tuple[Count, Count]
    paired: bool


class Comparison(Record):
    """A cell against what was expected of it: the entry, whose it is, and the drifts since.

    `expectation` is None for a cell without an entry, `drifts` is empty where the store has no
    values of the entry's cell. `drifted` names the values that moved further than was allowed.
    `follows` is the `cell_id` of a gate's cell whose change is all that changed this one. `change`
    is one of `CHANGES` where the verdict changed otherwise: without a drift, it is no failure.
    """

    baseline: str
    expectation: Expectation | None
    checkpoint: str | None = None
    drifts: Many[Drift] = ()
    drifted: Many[str] = ()
    follows: str | None = None
    change: Annotated[str, one_of(*CHANGES)] | None = None


class CellRecord(Record):
    """One claim judged on one checkpoint and task (and metric), with all that a reviewer needs.

    `measurements` maps a role to the digest of a stored measurement; `samples` names the samples;
    `per_sample` maps a name to one value for each of them (None where there is none); `command`
    reproduces the cell; `comparison` is there if the run was given expectations. `planted` is there
    if the subject was made for a claim: whether this one `holds` or `fails` by construction, or is
    another (`unknown`).
    """

    claim: Claim
    checkpoint: str
    family: str | None
    stage: str
    task: str
    metric: str | None
    decision: Decision
    figures: Many[Figure] = ()
    tables: Many[Table] = ()
    prompts: Many[Prompt] = ()
    controls: Many[Table] = ()
    notes: Many[str] = ()
    measurements: Mapping[str, str] = field(default_factory=dict)
    samples: Many[str] = ()
    per_sample: Mapping[str, Many[Value]] = field(default_factory=dict)
    parameters: Mapping[str, Json] = field(default_factory=dict)
    provenance: Mapping[str, Json] = field(default_factory=dict)
    command: str = ""
    comparison: Comparison | None = None
    planted: Annotated[str, one_of(*PLANTED)] | None = None

    def __post_init__(self) -> None:
        for name, values in self.per_sample.items():
            if len(values) != len(self.samples):
                expected = f"as many as there are samples ({len(self.samples)})"
                raise EvidenceError(
                    f"values of per_sample[{name!r}]", len(values), expected, where="CellRecord"
                )

    @property
    def cell_id(self) -> str:
        """Name of the cell, `pack/claim[checkpoint-task-metric]`, safe in node ids and links."""
        return _cell_id(self.claim.name, self.checkpoint, self.task, self.metric)

    @property
    def name(self) -> CellName:
        """The checkpoint, and what is asked of it."""
        return cell_name(self.claim.name, self.checkpoint, self.task, self.metric)

    @property
    def is_whole(self) -> bool:
        """Whether the cell is about all others of its claim."""
        return self.stage == self.task == WHOLE


class CellError(Record):
    """A cell that could not be judged: an exception is an error, never a verdict."""

    cell: str
    message: str


def cell_name(claim: str, checkpoint: str, task: str, metric: str | None) -> CellName:
    """Return the checkpoint and `claim[task-metric]`, which is the same for all checkpoints."""
    return checkpoint, _cell_id(claim, task, metric)


def claim_of(name: CellName) -> str:
    """Return the claim that a cell of that name is about, as names have it."""
    return name[1].partition("[")[0]


def cell_id(name: CellName) -> str:
    """Return the `CellRecord.cell_id` of the cell of that name."""
    claim, _, inside = name[1].partition("[")
    return f"{claim}[{_safe(name[0])}-{inside}"


def _cell_id(claim: str, *inside: str | None) -> str:
    pack_and_name = "/".join(map(_safe, claim.split("/")))
    return f"{pack_and_name}[{'-'.join(_safe(part) for part in inside if part is not None)}]"


def _safe(part: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", part)
    if re.fullmatch(r"[A-Za-z0-9._/-]+", part):
        return safe
    # Two names that differ only in replaced characters must not become the same cell.
    return f"{safe}.{hashlib.sha256(part.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"
