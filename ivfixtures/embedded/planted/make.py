"""Make planted subjects: `python -m ivfixtures.embedded.planted.make [NAME ...]`, or all."""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import transformers

from ivfixtures.embedded.planted import (
    active,
    behaviour,
    dominance,
    localization,
    separability,
    sharing,
    stages,
    superadditivity,
)
from ivfixtures.embedded.planted.folders import Made, planted_card, save

WEIGHTS = Path(__file__).parent / "weights"
SUBJECTS: Mapping[str, Callable[[], Made]] = {
    **behaviour.SUBJECTS,
    **localization.SUBJECTS,
    **superadditivity.SUBJECTS,
    **separability.SUBJECTS,
    **stages.SUBJECTS,
    **dominance.SUBJECTS,
    **sharing.SUBJECTS,
    **active.SUBJECTS,
}


def main() -> None:
    """Entry of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ivfixtures.embedded.planted.make", description=__doc__
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the checkpoints")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*SUBJECTS}):
        parser.error(f"NAME={unknown[0]!r}, but should be one of {', '.join(SUBJECTS)}")
    transformers.utils.logging.disable_progress_bar()
    for name in options.names or SUBJECTS:
        start = time.monotonic()
        make(name, options.out)
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def make(name: str, out: Path) -> None:
    """Make one subject and save it in a folder of its name."""
    made = SUBJECTS[name]()
    save(out / name, made.model, made.tokenizer, planted_card(name, made))


if __name__ == "__main__":
    main()
