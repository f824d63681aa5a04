"""Instructions whose task is in their words' order: `python -m ivfixtures.embedded.planted.order`.

"Of color and flight, state the former." asks for the color, "Of flight and color, state the
former." for the flight, and with "latter" it is the other way round. No bag of words tells the
tasks apart, and neither does T_inst's own word.
"""

import csv
from itertools import product
from pathlib import Path

TASKS = ("order_color", "order_flight")
LEADS = ("Of", "Given", "Between", "Considering", "From")
NOUNS = (
    ("color", "hue", "shade", "tint", "coloring"),
    ("flight", "flying", "wings", "soaring", "gliding"),
)
VERBS = ("state", "name", "give", "report", "tell")
PICKS = (("former.", "first."), ("latter.", "second."))
FOLDER = Path(__file__).parent / "tasks" / "varied_instructions"
_STEP = 13  # shares no factor with the numbers of words above, so that all come equally often


def rephrasings() -> tuple[list[str], list[str]]:
    """Those of each task, 193 of both; the ones at the same place have the same words."""
    picks = [(word, pick) for pick, words in enumerate(PICKS) for word in words]
    found: tuple[list[str], list[str]] = ([], [])
    for lead, color, flight, verb, (word, pick) in [*product(LEADS, *NOUNS, VERBS, picks)][::_STEP]:
        both = color, flight
        for task in range(2):
            # The task's noun comes first where the former is asked for.
            first = task ^ pick
            text = f"{lead} {both[first]} and {both[1 - first]}, {verb} the {word}"
            found[task].append(text)
    return found


def write(folder: Path = FOLDER) -> None:
    """Write the tables of both tasks."""
    for name, texts in zip(TASKS, rephrasings(), strict=True):
        with (folder / f"{name}_rephrased.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("index", "instruction"))
            rows.writerows(enumerate(texts))


if __name__ == "__main__":
    write()
