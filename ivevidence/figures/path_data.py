"""What figures of paths are drawn from: path counts per token, head activity, trajectories."""

import math
from dataclasses import dataclass

from ivevidence.figures.checks import (
    check_bounds,
    check_lengths,
    check_most,
    check_optional_lengths,
    check_position,
    check_range,
)
from ivevidence.records.codec import EvidenceError, Record

MOST_PATHS = 10


@dataclass(frozen=True)
class PathBars(Record):
    """Mean numbers of paths for each token of a prompt: high-ranking ones and all.

    `lows` and `highs` are bounds of the high-ranking mean. `estimated` marks tokens whose paths
    were sampled rather than enumerated. `t_inst` and `sentence_end` (an earlier end of a sentence
    of the instruction) are indices of tokens.
    """

    tokens: tuple[str, ...]
    high_ranking: tuple[float | None, ...]
    totals: tuple[float | None, ...]
    t_inst: int | None
    lows: tuple[float | None, ...] = ()
    highs: tuple[float | None, ...] = ()
    estimated: tuple[bool, ...] = ()
    sentence_end: int | None = None
    unit: str = "mean number of paths"

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(self.tokens)
        check_lengths(self, count, "token", "high_ranking", "totals")
        check_optional_lengths(self, count, "token", "lows", "highs", "estimated")
        for name in ("high_ranking", "totals", "lows", "highs"):
            check_range(self, name, getattr(self, name), 0, math.inf)
        check_bounds(self, self.lows, self.highs)
        check_position(self, count, "t_inst", "sentence_end")
        for k, (some, all_) in enumerate(zip(self.high_ranking, self.totals, strict=True)):
            # Means of the same samples may differ in their last digits.
            if some is not None and all_ is not None and some > all_ * (1 + 1e-9):
                expected = f"at most totals[{k}]={all_}"
                raise EvidenceError(f"high_ranking[{k}]", some, expected, where="PathBars")


@dataclass(frozen=True)
class HeadPanel(Record):
    """Shares in [0, 1] of a grid of heads, `[layer][head]`; `significant` marks some of them."""

    title: str
    values: tuple[tuple[float | None, ...], ...]
    significant: tuple[tuple[bool, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.shape
        for name in ("values", "significant"):
            lengths = [len(row) for row in getattr(self, name)]
            if lengths != [shape[1]] * shape[0] and (lengths or name == "values"):
                expected = f"{shape[0]} layers of {shape[1]} heads"
                raise EvidenceError(name, lengths, expected, where="HeadPanel")
        for layer, row in enumerate(self.values):
            check_range(self, f"values[{layer}]", row, 0, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of layers and of heads."""
        return len(self.values), len(self.values[0]) if self.values else 0


@dataclass(frozen=True)
class HeadMaps(Record):
    """Head activity side by side, on one color scale from 0 to 1; `mark` says what a mark means."""

    panels: tuple[HeadPanel, ...]
    unit: str = "share of paths"
    mark: str = "significant"

    def __post_init__(self) -> None:
        super().__post_init__()
        for k, panel in enumerate(self.panels):
            if panel.shape != (shape := self.panels[0].shape):
                expected = f"{shape[0]} layers of {shape[1]} heads, as in panels[0]"
                raise EvidenceError(f"panels[{k}]", list(panel.shape), expected, where="HeadMaps")


@dataclass(frozen=True)
class Trajectory(Record):
    """One path: its token at the embedding and after each block, and what it contributes.

    `value` is the answer's logit from this path alone, `rank` the answer's rank there.
    """

    positions: tuple[int, ...]
    value: float
    rank: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.positions or list(self.positions) != sorted(self.positions):
            expected = "never going back, and at least one"
            raise EvidenceError("positions", list(self.positions), expected, where="Trajectory")


@dataclass(frozen=True)
class Trajectories(Record):
    """Paths of one prompt to its last token, the strongest one first."""

    tokens: tuple[str, ...]
    paths: tuple[Trajectory, ...]
    t_inst: int | None
    unit: str = "logit"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_most(self, "paths", MOST_PATHS)
        check_position(self, len(self.tokens), "t_inst")
        for k, path in enumerate(self.paths):
            length, last = len(self.paths[0].positions), len(self.tokens) - 1
            if len(path.positions) != length:
                expected = f"{length}, as in paths[0]"
                got = len(path.positions)
                raise EvidenceError(f"len(paths[{k}].positions)", got, expected, "Trajectories")
            if path.positions[0] < 0 or path.positions[-1] != last:
                expected = f"from 0 at least to the last token, {last}"
                got_positions = list(path.positions)
                raise EvidenceError(
                    f"paths[{k}].positions", got_positions, expected, "Trajectories"
                )
