"""What a tokenizer writes around a text, held against its configuration; ids no embedding has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from ivfixtures.plain_files import problem, read_json

_PROBE = "a"


def follow_configuration(tokenizer: PreTrainedTokenizerBase, folder: Path) -> str | None:
    """Let a tokenizer add BOS and EOS as its `tokenizer_config.json` says; a note if it did not.

    transformers 5 passes over `add_bos_token` and `add_eos_token` where there is a tokenizer.json,
    which does not always say the same (that of deepseek_v3 adds no BOS, its configuration does).

    Raises: CheckpointError, it cannot be made to.
    """
    path = folder / "tokenizer_config.json"
    if not (tokenizer.is_fast and path.is_file()):
        return None
    given = read_json(path)
    does, others = _adds(tokenizer)
    wanted = {
        name: given[f"add_{name}_token"] if type(given.get(f"add_{name}_token")) is bool else adds
        for name, adds in does.items()
    }
    changed = [name for name in does if wanted[name] != does[name]]
    if not changed:
        return None
    if not others:  # which the setting would remove
        for name, adds in wanted.items():
            setattr(tokenizer, f"add_{name}_token", adds)
    said = ", ".join(f"add_{name}_token={str(wanted[name]).lower()}" for name in changed)
    if _adds(tokenizer) != (wanted, 0):
        expected = "what it does, or can be made to do"
        remedy = "name the token in the file, or correct the setting"
        raise problem("tokenizer configuration", said, expected, path, remedy)
    return f"its tokenizer was made to follow its configuration: {said} (transformers does not)"


def require_embedded(
    ids: Iterable[int], rows: int | None, tokenizer: PreTrainedTokenizerBase, where: str
) -> None:
    """See that the model has an embedding of every token, before it is run.

    rows: of the embedding; None: unknown.

    Raises: CheckpointError.
    """
    largest = max(ids)
    if rows is not None and largest >= rows:
        got = f"{largest} ({tokenizer.convert_ids_to_tokens(largest)!r})"
        expected = f"below {rows}, the rows of the embedding"
        remedy = "give the checkpoint its own tokenizer, or resize its embedding and save it again"
        raise problem("token id", got, expected, where, remedy)


def _adds(tokenizer: PreTrainedTokenizerBase) -> tuple[dict[str, bool], int]:
    """Whether BOS and EOS are written before and after a text, and how many other tokens are."""
    ids, bare = (tokenizer(_PROBE, add_special_tokens=add)["input_ids"] for add in (True, False))
    added = len(ids) - len(bare)
    does = {
        "bos": added > 0 and ids[0] == tokenizer.bos_token_id,
        "eos": added > 0 and ids[-1] == tokenizer.eos_token_id,
    }
    return does, added - sum(does.values())
