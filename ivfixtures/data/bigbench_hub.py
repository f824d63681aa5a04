"""BIG-bench's examples from the hub's data set: parquet files, read as data."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from ivfixtures.data.taskfiles import problem

DATASET = "tasksource/bigbench"
FILE = "{name}/train-00000-of-00001.parquet"
COLUMNS = ("inputs", "targets", "multiple_choice_targets", "multiple_choice_scores")
# The data set stores prompts: the task's own instruction, `Q: `, the input, its options, `A:`.
_INPUT = re.compile(r"(?:.*?\n)?Q: (.*?)(?:\n  choice: .*)?\s*\nA:\s*", re.DOTALL)


def read_examples(name: str) -> list[dict[str, Any]]:
    """The examples of a task's train split, in BIG-bench's JSON form.

    The hub's cache is read where there is no network.

    Raises: TaskError if pyarrow, the network or the file is missing, or a row is not as expected.
    """
    file = FILE.format(name=name)
    where = f"{DATASET}, {file}"
    if find_spec("pyarrow") is None:
        got, expected = "without pyarrow", "able to read parquet files"
        remedy = "pip install 'ivclaims[bigbench]', or give --bigbench a folder of JSON files"
        raise problem("environment", got, expected, where, remedy)
    from huggingface_hub import hf_hub_download
    from pyarrow import parquet

    try:
        path = hf_hub_download(DATASET, file, repo_type="dataset")
        rows = parquet.read_table(path, columns=list(COLUMNS)).to_pylist()
    except Exception as error:  # no network, no such file, or a damaged one: anything is raised
        got = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "check the network, or give --bigbench a folder of JSON files"
        expected = "a file of the hub or its cache"
        raise problem("examples", got, expected, where, remedy) from error
    return [example_of(row, f"{where}, row {n}") for n, row in enumerate(rows, start=1)]


def example_of(row: dict[str, Any], where: str) -> dict[str, Any]:
    """One row of the data set as an example of BIG-bench's JSON form."""
    found = _INPUT.fullmatch(row["inputs"] or "")
    if found is None:
        expected, remedy = "a prompt with Q: and A:", "give --bigbench a folder of JSON files"
        raise problem("inputs", repr(row["inputs"]), expected, where, remedy)
    options = row["multiple_choice_targets"]
    if not options:
        return {"input": found[1], "target": row["targets"]}
    scores = dict(zip(options, row["multiple_choice_scores"], strict=True))
    return {"input": found[1], "target_scores": scores}
