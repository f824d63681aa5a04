"""Evidence made up for tests: 2 claims x 5 checkpoints x 4 tasks (x metrics), plausible numbers."""

from dataclasses import replace

import numpy as np

from ivevidence.records.cells import (
    UNDRIFTED,
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

PAPER = "Patches of Nonlinearity: Instruction Vectors in Large Language Models, arXiv:2602.07930"
CLAIMS = (
    Claim(
        name="instruction_vectors/localization",
        title="The instruction is localized at T_inst",
        paper=PAPER,
        section="5.1",
        quote="Across all tasks, we observe localized points where the logit improvement is "
        "the greatest.",
        estimand="Share of the gap between target and instructed run that the best discovered "
        "tuple of layers closes on the samples that decide.",
        rule="supported if the share, with the effect and with the specific effect alike, lies "
        "beyond 0.1, exceeds random vectors and other instruction positions, and half of the "
        "positive effect lies in less than 25 % of the tuples",
        thresholds={"share of gap": 0.1, "concentration": 0.25},
    ),
    Claim(
        name="instruction_vectors/superadditivity",
        title="Layers do more together than the sum of what each does alone",
        paper=PAPER,
        section="5.1, Eq. 2",
        quote="There exists a combination of layers whose cumulative causal influence is more "
        "than the sum of their individual influences.",
        estimand="Median over samples of f(ij) - f(i) - f(j), relative to the pair's mean effect, "
        "for the best pairs of the picking part.",
        rule="supported if the median interaction exceeds 5 % of the pair's mean effect and is "
        "positive on more than half of the samples for the majority of the pairs",
        thresholds={"interaction": 0.05, "share of samples": 0.5},
    ),
)
CHECKPOINTS = (
    ("tiny-olmo2-base", "tiny-olmo2", "base"),
    ("tiny-olmo2-sft", "tiny-olmo2", "sft"),
    ("tiny-olmo2-dpo", "tiny-olmo2", "dpo"),
    ("tiny-olmo2-planted-sft", "tiny-olmo2-planted", "sft"),
    ("tiny-olmo2-planted-dpo", "tiny-olmo2-planted", "dpo"),
)
TASKS = ("adj_comp", "adj_ant", "anim_color", "can_fly")
METRICS = {
    "instruction_vectors/localization": (None,),
    "instruction_vectors/superadditivity": ("rr", "logit"),
}
CRITERIA = {
    "instruction_vectors/localization": {
        "share of gap, effect": "share of gap",
        "share of gap, specific effect": "share of gap",
    },
    "instruction_vectors/superadditivity": {
        "median interaction / effect": "interaction",
        "share of samples > 0": "share of samples",
    },
}
RUN = {
    "date": "2026-03-02 14:07 UTC",
    "command": "pytest claims --family tiny-olmo2 --family tiny-olmo2-planted",
    "seconds": 312.4,
    "measured": 41,
    "reused": 7,
    "samples": 100,
    "seed": 0,
    "device": "cpu",
    "dtype": "float32",
    "versions": {"ivclaims": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
    "git_commit": "2a565ce",
}
ERRORS = (
    CellError(
        "instruction_vectors/localization[tiny-olmo2-sft-broken]",
        "RuntimeError: no-op effect=0.2, but should be 0",
    ),
)


def example_cells(*, layers: int = 6, copies: int = 1) -> list[CellRecord]:
    """All combinations, `copies` times with further checkpoint names."""
    return [
        example_cell(claim, (name + suffix, family, stage), task, metric, layers)
        for suffix in ["", *(f"-{copy}" for copy in range(1, copies))]
        for claim in CLAIMS
        for name, family, stage in CHECKPOINTS
        for task in TASKS
        for metric in METRICS[claim.name]
    ]


def example_cell(
    claim: Claim = CLAIMS[0],
    checkpoint: tuple[str, str | None, str] = CHECKPOINTS[3],
    task: str = "adj_comp",
    metric: str | None = None,
    layers: int = 6,
) -> CellRecord:
    name, family, stage = checkpoint
    rng = np.random.default_rng(list(f"{claim.name}{name}{task}{metric}".encode()))
    strength = {"base": 0.0, "sft": 0.5, "dpo": 0.7}[stage] if "planted" in name else 0.05
    decision = example_decision(claim, stage, strength, rng)
    command = f"pytest claims/{claim.name}.py --checkpoint {name} -k '{task}'"
    return CellRecord(
        claim=claim,
        checkpoint=name,
        family=family,
        stage=stage,
        task=task,
        metric=metric,
        decision=decision,
        figures=()
        if decision.verdict == "not_applicable"
        else example_figures(strength, layers, rng),
        tables=(example_table(rng),),
        prompts=example_prompts(),
        controls=(example_controls(rng),),
        notes=("2 of 100 samples dropped: both answers begin with the same token.",),
        measurements={"sweep": "3f" * 32, "controls": "a1" * 32},
        samples=[f"query {i}" for i in range(50)],
        per_sample={"effect": rng.normal(strength, 0.2, 50), "specific": rng.normal(0, 0.2, 50)},
        parameters={"samples": 100, "orders": [1, 2, 3], "seed": 0, "protocol": "paper"},
        provenance={
            "weights": "9c" * 32,
            "device": "cpu",
            "dtype": "float32",
            "seconds": 4.21,
            "versions": {"torch": "2.13.0", "nnsight": "0.8.1"},
        },
        command=command,
    )


def example_comparison(cell: CellRecord, mark: str) -> CellRecord:
    """The cell held to an entry that gives it this mark of the report."""
    verdict, leading = cell.decision.verdict, cell.decision.criteria[:1]
    other = "refuted" if verdict != "refuted" else "supported"
    changed = mark in ("changed", UNDRIFTED, "follows its gate")
    entry = Expectation(other if changed else verdict)
    for c in leading:
        entry = replace(entry, criterion=c.name, estimate=0.125, low=0.0625, high=0.25, n=40)
    if mark == "new":
        return replace(cell, comparison=Comparison("main.json", None))
    drifts = (
        Drift("effect", -0.375, -0.5, -0.25, 0.004, (50, 50), True),
        Drift("specific", 0.0078, None, None, 0.5, (3, 4), False),
    )
    drifted = ("effect",) if mark == "drifted" else ()
    follows = "instruction_vectors/behaviour[tiny-olmo2]" if mark == "follows its gate" else None
    change = {"changed": "with a drift", UNDRIFTED: UNDRIFTED}.get(mark)
    comparison = Comparison("main.json", entry, "tiny-olmo2-old", drifts, drifted, follows, change)
    return replace(cell, comparison=comparison)


def example_decision(
    claim: Claim, stage: str, strength: float, rng: np.random.Generator
) -> Decision:
    if stage == "base":
        return Decision("not_applicable", "not competent: IA 0.12 (lower 95 % bound 0.07) <= 0.5")
    names = CRITERIA[claim.name]
    criteria = tuple(
        example_criterion(name, claim.thresholds[threshold], strength, rng)
        for name, threshold in names.items()
    )
    outcomes = {criterion.outcome for criterion in criteria}
    if outcomes == {"beyond"}:
        return Decision("supported", "every criterion lies beyond its threshold", criteria)
    if "short" in outcomes:
        short = next(c.name for c in criteria if c.outcome == "short")
        return Decision("refuted", f"{short} lies short of its threshold", criteria)
    return Decision(
        "inconclusive", "an interval holds its threshold", criteria, samples_to_decide=240
    )


def example_criterion(
    name: str, threshold: float, strength: float, rng: np.random.Generator
) -> Criterion:
    estimate = threshold + strength * rng.uniform(0.3, 1) - rng.uniform(0, 0.12)
    width = rng.uniform(0.03, 0.09)
    p_value = float(rng.uniform(0, 0.01)) if estimate - width > threshold else 0.4
    return Criterion(
        name,
        "mean over the samples that decide",
        estimate,
        estimate - width,
        estimate + width,
        threshold,
        50,
        p_value,
    )


def example_figures(strength: float, layers: int, rng: np.random.Generator) -> tuple[Figure, ...]:
    row, column = np.indices((layers, layers))
    bump = np.exp(-((row - layers / 3) ** 2 + (column - layers / 1.8) ** 2) / layers)
    values = (strength + 0.1) * bump + rng.normal(0, 0.04, (layers, layers))
    upper = np.where(column >= row, values, np.nan)
    best = np.unravel_index(np.nanargmax(upper), upper.shape)
    maps = [
        Figure(
            "matrix",
            title,
            "Mean over 50 samples of the samples that decide; single layers on the "
            "diagonal. Outlined: the pair picked on the picking part.",
            {
                "rows": [str(k) for k in range(layers)],
                "columns": [str(k) for k in range(layers)],
                "panels": [{"title": "", "values": upper * factor, "marked": [best]}],
                **{"row_label": "layer i", "column_label": "layer j", "unit": "effect (rr)"},
                "mark": "picked",
            },
        )
        for title, factor in (("Effect", 1.0), ("Specific effect", 0.8))
    ]
    tokens = ["Give", " the", " comparative", " form", " of", " the", " adjective", "."]
    values = rng.normal(0, 0.05, len(tokens)) + np.array([0] * 7 + [strength])
    bars = Figure(
        "bars",
        "Other instruction positions as source",
        "Effect of the confirmed tuple, 90 % intervals.",
        {
            "categories": tokens,
            "series": [
                {"name": "effect", "values": values, "lows": values - 0.06, "highs": values + 0.06}
            ],
            "marks": {7: "T_inst"},
            "unit": "effect (rr)",
        },
    )
    return (*maps, bars)


def example_table(rng: np.random.Generator) -> Table:
    rows = [
        (f"({i}, {i + 1})", *(float(v) for v in rng.normal(0.3, 0.1, 3)), 50) for i in range(1, 5)
    ]
    columns = ("tuple", "effect", "specific effect", "interaction", "n")
    return Table("Best tuples", columns, tuple(rows), "Ordered as on the picking part.")


def example_controls(rng: np.random.Generator) -> Table:
    rows = [
        ("no-op", 0.0, 0.0, 0.0),
        ("contrast instruction", *(float(v) for v in np.sort(rng.normal(0.05, 0.02, 3)))),
        ("neutral sentences", *(float(v) for v in np.sort(rng.normal(0, 0.02, 3)))),
        ("random vectors, norm-matched", *(float(v) for v in np.sort(rng.normal(0, 0.01, 3)))),
    ]
    return Table("Controls", ("source", "low", "effect", "high"), tuple(rows))


def example_prompts() -> tuple[Prompt, ...]:
    source = ("<bos>", "Give", " the", " comparative", " form", " of", " the", " adjective", ".")
    target = ("<bos>", "Adjective", ":", " big", ".", " Answer", ":")
    return (
        Prompt("source", source, {8: "T_inst"}, "bigger", "bigger"),
        Prompt("target", target, {0: "patch site", 6: "T_last"}, "bigger", "small\n"),
    )
