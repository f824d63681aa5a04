"""Evidence: what a run keeps and shows."""

from ivevidence.figures.kinds import draw
from ivevidence.records.cells import (
    VERDICTS,
    CellError,
    CellRecord,
    Claim,
    Comparison,
    Criterion,
    Decision,
    Drift,
    Expectation,
    Figure,
    Prompt,
    Table,
)
from ivevidence.records.codec import EvidenceError
from ivevidence.records.digests import canonical_json, digest_json
from ivevidence.records.files import Evidence, read_evidence, write_evidence
from ivevidence.report.fragment import render
from ivevidence.store.measurements import Measurement, Store, StoreWarning
from ivevidence.store.places import open_place

__all__ = [
    "VERDICTS",
    "CellError",
    "CellRecord",
    "Claim",
    "Comparison",
    "Criterion",
    "Decision",
    "Drift",
    "Evidence",
    "EvidenceError",
    "Expectation",
    "Figure",
    "Measurement",
    "Prompt",
    "Store",
    "StoreWarning",
    "Table",
    "canonical_json",
    "digest_json",
    "draw",
    "open_place",
    "read_evidence",
    "render",
    "write_evidence",
]
