"""The suite on small checkpoints of random weights: what tests of it share."""

import base64
import re
import zlib

# Once: a run in this process would leave stale ones, whose classes are others, to the next.
from claims.instruction_vectors import (  # noqa: F401
    behaviour_exhibits,
    gates,
    head_exhibits,
    path_exhibits,
    probing_exhibits,
    published_exhibits,
    stage_exhibits,
)
from ivfixtures.data.settings import Settings
from tests.models import random_model, text_tokenizer

# Of data, where no run of pytest gives them.
OPTIONS = Settings(
    **{"tasks": {}, "device": "cpu", "dtype": "float32", "remote": False, "samples": 2, "seed": 0},
    **{"chat_template": "never", "system_prompt": None, "memory_budget": None},
    **{"judge": None, "measure_anyway": False},
)
PACK = "claims.instruction_vectors"
SINGLES, PAIRS = (("--set", f"instruction_vectors.orders={orders}") for orders in ("1", "1,2"))
TASKS = """
[adj_comp]
file = "words.csv"
answer = "adj_comp"
contrast = "adj_ant"
instruction = "Given an adjective, state its comparative form."
prompt = "Adjective: {query}. Answer:"
valid_columns = ["adj_comp"]

[adj_ant]
file = "words.csv"
answer = "adj_ant"
contrast = "adj_comp"
instruction = "Given an adjective, state its antonym."
prompt = "Adjective: {query}. Answer:"
valid_columns = ["adj_ant"]
"""
ROWS = ["big,bigger,small", "<script>document.title='x'</script>,smaller,big", "hot,hotter,cold"]
ROWS += [
    "tall,taller,short",
    "good,better,bad",
    "old,older,young",
    "wet,wetter,dry",
    "shy,shyer,bold",
]


def saved(layout, folder, *, layers=3):
    """A random model of a layout with a tokenizer of bytes, saved into the folder."""
    tokenizer = text_tokenizer("byte")
    model = random_model(layout, layers)
    model.resize_token_embeddings(len(tokenizer))
    model.config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_tasks(folder, rows=ROWS):
    """A folder of two tasks, each the other's contrast, on one file of rows."""
    folder.mkdir()
    (folder / "tasks.toml").write_text(TASKS)
    (folder / "words.csv").write_text("\n".join(["query,adj_comp,adj_ant", *rows]) + "\n")
    return folder


def shown(path):
    """All that a report shows, what is packed included."""
    html = path.read_text()
    packed = re.findall(r'data-iv-packed="([^"]*)"', html)
    return html + "".join(zlib.decompress(base64.b64decode(part)).decode() for part in packed)


def printed(result):
    """All that a run of pytest printed."""
    return "\n".join(result.outlines + result.errlines)


def has_traceback(result):
    """Whether a run of pytest printed where in our own code something was raised."""
    return "ivfixtures" in printed(result).replace("ivfixtures.suite.plugin", "")
