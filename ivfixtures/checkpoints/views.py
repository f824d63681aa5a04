"""Private folders that hold only what was checked of a checkpoint: what transformers is handed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ivfixtures.checkpoints.settings_files import allowed_settings
from ivfixtures.checkpoints.tensor_headers import tensors


@contextmanager
def view(files: Iterable[Path]) -> Iterator[Path]:
    """Yield a folder with links to the given files, and with settings cut to the allowed ones.

    transformers finds whatever a folder holds, and follows what is written in its settings; here
    it can find nothing else. Weights in several files get an index of our own, by their headers.

    Raises: CheckpointError, settings are damaged or cannot be honoured.
    """
    with TemporaryDirectory(prefix="ivclaims-") as name:
        folder, weights = Path(name), []
        for path in files:
            content = allowed_settings(path)
            if content is not None:
                (folder / path.name).write_text(json.dumps(content), encoding="utf-8")
                continue
            if path.suffix == ".safetensors":
                weights.append(path)
            else:
                (folder / path.name).symlink_to(path.absolute())
        _link_weights(folder, weights)
        yield folder


def _link_weights(folder: Path, weights: list[Path]) -> None:
    if len(weights) == 1:
        (folder / "model.safetensors").symlink_to(weights[0].absolute())
        return
    index: dict[str, str] = {}
    for number, path in enumerate(weights, start=1):
        name = f"model-{number:05}-of-{len(weights):05}.safetensors"
        (folder / name).symlink_to(path.absolute())
        index |= {tensor.name: name for tensor in tensors(path)}
    if index:
        text = json.dumps({"metadata": {}, "weight_map": index})
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
