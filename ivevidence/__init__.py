"""Evidence: what a run keeps and shows."""

from ivevidence.codec import EvidenceError
from ivevidence.digests import canonical_json, digest_json
from ivevidence.evidence import Evidence, read_evidence, write_evidence
from ivevidence.figures import draw
from ivevidence.places import open_place
from ivevidence.records import (
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
from ivevidence.report import render
from ivevidence.store import Measurement, Store, StoreWarning

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
