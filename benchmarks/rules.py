"""How often the decision rules are right and wrong, on simulated worlds where the truth is known.

    python -m benchmarks.rules [--runs N] [--rule NAME]

Per world and number of samples, supported / refuted in % of the runs. `!` marks an error above its
limit: 5 %, 7 % exactly on a threshold; `(!)` one that docs/decision-rules.md states as known.
The runs are those of the product's own functions, with 600 resamples.
"""

import argparse

from benchmarks.worlds import LIMITS, RULES, SIZES, Rates, World, rates, worlds


def main() -> None:
    """Print one table a rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--rule", choices=RULES)
    options = parser.parse_args()
    for rule in [options.rule] if options.rule else RULES:
        sizes = " | ".join(f"n = {samples}" for samples in SIZES)
        print(f"## {rule}, {options.runs} runs\n\n| world | truth | {sizes} |")
        print("|---" * (len(SIZES) + 2) + "|")
        for world in worlds(rule):
            cells = [
                _cell(world, rates(world, samples=samples, runs=options.runs)) for samples in SIZES
            ]
            print(f"| {world.name} | {world.truth} | {' | '.join(cells)} |", flush=True)
        print()


def _cell(world: World, found: Rates) -> str:
    pairs = list(zip((found.supported, found.refuted), LIMITS[world.truth], strict=True))
    mark = "" if all(rate <= limit for rate, limit in pairs) else " (!)" if world.known else " !"
    return " / ".join(f"{100 * rate:.3g}" for rate, _ in pairs) + mark


if __name__ == "__main__":
    main()
