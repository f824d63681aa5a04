"""What the report says about the run: how far it came, what failed, how it was started."""

from collections.abc import Mapping
from typing import Any

from ivevidence.records.cells import CellError
from ivevidence.report.html import Html, tag
from ivevidence.report.tables import facts_table


def render_interruption(run: Mapping[str, Any], *, judged: int, failed: int) -> Html | None:
    """Return the warning that cells are left out, of a run that stopped before its end."""
    planned = run.get("planned")
    if not run.get("interrupted") and (planned is None or planned <= judged + failed):
        return None
    number = f"{judged} of {count(planned, 'cell')}" if planned else count(judged, "cell")
    verb = "was" if (planned or judged) == 1 else "were"
    said = f"This run was interrupted: {number} {verb} judged."
    return tag("p", said, class_="iv-alert", role="alert")


def render_errors(errors: list[CellError], run: Mapping[str, Any]) -> Html | None:
    """Return what could not be judged, and what was expected (`run["missing"]`) but is not here."""
    missing = run.get("missing", ())
    if not errors and not missing:
        return None
    failed = [tag("li", tag("b", error.cell), tag("pre", error.message)) for error in errors]
    absent = [tag("li", tag("b", name)) for name in missing]
    about_missing = "These cells were expected, but this run did not judge them."
    return tag(
        "section",
        tag("h2", "Errors") if errors else None,
        tag("p", "These cells could not be judged. An error says nothing about the claim.")
        if errors
        else None,
        tag("ul", *failed) if errors else None,
        tag("h2", "Missing cells") if missing else None,
        tag("p", about_missing) if missing else None,
        tag("ul", *absent) if missing else None,
        class_="iv-errors",
    )


def render_run(run: Mapping[str, Any]) -> Html | None:
    """Return all facts about the run, folded away."""
    facts = {name: value for name, value in run.items() if name != "missing"}
    if not facts:
        return None
    return tag(
        "details",
        tag("summary", "About this run"),
        facts_table(facts, label="About this run"),
        class_="iv-run",
    )


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
