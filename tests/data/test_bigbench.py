from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import read_evidence
from ivfixtures.data import bigbench_hub, taskfiles
from ivfixtures.data.bigbench import MOST_LEFT_OUT, load_bigbench
from ivfixtures.data.bigbench_forms import FORMS, NUMBERS
from ivfixtures.data.tasks import Item, Task, TaskError
from ivfixtures.suite.options import _tasks
from ivmethods.prompts.protocols import tokenize_sample
from tests.models import random_model, spacing_tokenizer, text_tokenizer
from tests.running import shown

SHARED = Path(__file__).parents[3] / "shared"
SAMPLES = SHARED / "bigbench"
REPHRASINGS = SHARED / "paper/tasks"
SPEAKERS = "Speaker 1: 'Is it {}?' Speaker 2: 'It is.'"
INSTRUCTIONS = {
    "metaphor_boolean": "For a given metaphorical sentence, identify if the second sentence is the "
    "correct interpretation. Print Y for yes and N for no.",
    "implicatures": "Predict whether Speaker 2's answer to Speaker 1 counts as a yes or as a no. "
    "Print Y for yes and N for no.",
    "object_counting": "For the given sentence, count the number of objects listed and print it as "
    "a digit.",
    "snarks": "Choose which of the two statements is sarcastic and print the corresponding letter:",
}
# Two examples of each task, scored and named, and what is asked and answered for each.
EXAMPLES: dict[str, list[tuple[dict[str, Any], Item]]] = {
    "metaphor_boolean": [
        (
            {"input": "Ice melts. <-->  It\n thaws.", "target_scores": {"False": 0, "True": 1}},
            Item("Sentence 1: Ice melts. Sentence 2: It thaws.", ("Y",), ("N",)),
        ),
        (
            {"input": "Ice melts<-->It sings", "target": "False"},
            Item("Sentence 1: Ice melts Sentence 2: It sings", ("N",), ("Y",)),
        ),
    ],
    "implicatures": [
        (
            {"input": SPEAKERS.format("you"), "target_scores": {"no": 1.0, "yes": 0.0}},
            Item(SPEAKERS.format("you"), ("N",), ("Y",)),
        ),
        (
            {"input": SPEAKERS.format("<i>it</i> {query}"), "target": ["Yes"]},
            Item(SPEAKERS.format("<i>it</i> {query}"), ("Y",), ("N",)),
        ),
    ],
    "object_counting": [
        (
            {"input": "I have 2 lamps. How many?", "target": ["Twenty-one", "21"]},
            Item("Sentence: I have 2 lamps. How many?", ("21", "twenty-one")),
        ),
        ({"input": "I have none.", "target": "0"}, Item("Sentence: I have none.", ("0",))),
    ],
    "snarks": [
        (
            {
                "input": "Which statement is sarcastic? (a) Fine. (b) Bad.",
                "target_scores": {"(a)": 1, "(b)": 0},
            },
            Item("A: Fine. B: Bad.", ("A", "(A)"), ("B", "(B)")),
        ),
        (  # as in BIG-bench Hard
            {
                "input": "Which statement is sarcastic?\nOptions:\n(A) I see.\n(B) Oh (b) no.",
                "target": "(B)",
            },
            Item("A: I see. B: Oh (b) no.", ("B", "(B)"), ("A", "(A)")),
        ),
    ],
}
YES = {"yes": 1, "no": 0}


def example(word: object, **keys: Any) -> dict[str, Any]:
    return {"input": SPEAKERS.format(word), "target_scores": YES, **keys}


GOOD = [example(word) for word in ("old", "new", "hot")]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write the examples (or the content, or the very text) of implicatures, or of another task."""

    def written(content: Any, name: str = "implicatures.json") -> Path:
        folder = tmp_path / "bb"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = {"examples": content} if isinstance(content, list) else content
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)
        return folder

    return written


def error_of(source: Path | str) -> str:
    with pytest.raises(TaskError) as caught:
        load_bigbench(str(source))
    line = str(caught.value)
    assert re.fullmatch(r".+?=.*, but should be .+ \[.+\]; .+", line)
    assert line.isprintable()
    assert len(line) < 600
    return line


# What is asked and answered


@pytest.mark.parametrize("name", FORMS)
def test_an_example_becomes_the_papers_prompt_and_the_answer_that_it_asks_for(name, write):
    examples, items = zip(*EXAMPLES[name], strict=True)
    task = load_bigbench(str(write(list(examples), f"{name}.json")))[name]
    assert task.items == items
    assert task.instruction == INSTRUCTIONS[name]
    assert [task.prompt_for(item) for item in items] == [f"{item.query} Answer:" for item in items]
    assert (task.contrast, task.contrast_instruction, task.notes) == (None, None, ())
    assert task.source == f"bb/{name}.json"


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("metaphor_boolean", ["Y", "n."], ["yes", "True", "A", ""]),
        ("implicatures", ["N", "'Y'"], ["no", "maybe", "YN"]),
        ("snarks", ["A", "(b)", "B."], ["C", "Y", "A and B", "(c)"]),
        ("object_counting", ["0", "12.", "Seven", "forty-two"], ["many", "1.5", "-1", "2 lamps"]),
    ],
)
def test_instruction_accuracy_accepts_the_kind_of_answer_asked_for(name, accepted, refused, write):
    examples = [example for example, _ in EXAMPLES[name]]
    task = load_bigbench(str(write(examples, f"{name}.json")))[name]
    assert [word for word in accepted if not task.is_valid(word)] == []
    assert [word for word in refused if task.is_valid(word)] == []


@given(count=st.sampled_from(sorted(NUMBERS.items())), digits=st.booleans(), both=st.booleans())
def test_counts_are_read_in_words_and_digits(
    tmp_path_factory: pytest.TempPathFactory, count: tuple[str, int], digits: bool, both: bool
) -> None:
    word, number = count
    target = [word, str(number)] if both else str(number) if digits else word
    folder = tmp_path_factory.mktemp("bb")
    examples = [{"input": f"I have {n}.", "target": target} for n in "ab"]
    (folder / "object_counting.json").write_text(json.dumps({"examples": examples}))
    task = load_bigbench(str(folder))["object_counting"]
    assert task.items[0].answers[0] == str(number)
    assert (word in task.items[0].answers) == (both or not digits)
    assert all(task.is_valid(answer) for answer in task.items[0].answers)
    assert len(NUMBERS) == 20 + 8 + 2 * 8 * 9


@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
        .map(str.strip)
        .filter(lambda text: text and "<-->" not in text),
        min_size=4,
        max_size=4,
        unique=True,
    )
)
def test_whatever_is_written_comes_back_as_the_query(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    pairs = [texts[:2], texts[2:]]
    folder = tmp_path_factory.mktemp("bb")
    examples = [
        {"input": " <--> ".join(p), "target_scores": {"True": 0, "False": 1}} for p in pairs
    ]
    (folder / "metaphor_boolean.json").write_text(json.dumps({"examples": examples}))
    task = load_bigbench(str(folder))["metaphor_boolean"]
    assert [i.query for i in task.items] == [f"Sentence 1: {a} Sentence 2: {b}" for a, b in pairs]
    assert {i.answers + i.contrast_answers for i in task.items} == {("N", "Y")}


@pytest.mark.parametrize("name", FORMS)
def test_samples_have_the_other_option_as_contrast_and_the_bare_query_when_released(name):
    tokenizer, task = text_tokenizer("byte"), FORMS[name]
    for _, item in EXAMPLES[name]:
        paper, released = (
            tokenize_sample(
                tokenizer,
                query=item.query,
                instruction=task.instruction,
                prompt=f"{item.query} Answer:",
                answer=item.answers[0],
                contrast=item.contrast_answers[0] if item.contrast_answers else None,
                protocol=protocol,
            )
            for protocol in ("paper", "released")
        )
        assert tokenizer.decode([paper.instructed[paper.t_inst]]) == task.instruction[-1]
        # Y and N, but not A, B and digits, are tokens together with their space here.
        space = " " * paper.spaces
        assert tokenizer.decode(paper.target[1:]) == f" {item.query} Answer:{space}"
        assert tokenizer.decode(released.target) == item.query
        assert (released.contrast is None) == (not item.contrast_answers)
        if item.contrast_answers:
            assert tokenizer.decode([released.answer]) == item.answers[0]
            assert tokenizer.decode([released.contrast]) == item.contrast_answers[0]


# Files


def test_a_folder_may_hold_some_tasks_and_be_laid_out_as_big_benchs_repository(write):
    folder = write(GOOD, "implicatures/task.json")
    write([one for one, _ in EXAMPLES["snarks"]], "snarks.json")
    write("no JSON", "other.json")
    found = load_bigbench(str(folder))
    assert list(found) == ["implicatures", "snarks"]
    assert found["implicatures"].source == "bb/implicatures/task.json"
    assert load_bigbench(str(write(GOOD)))["implicatures"].source == "bb/implicatures.json"


def test_repeated_examples_are_counted_once_with_a_note(write):
    task = load_bigbench(str(write([*GOOD, example(" old")])))["implicatures"]
    assert len(task.items) == 3
    assert task.notes == ("bb/implicatures.json: 1 repeated examples are counted once",)


def test_a_few_inputs_of_another_form_are_left_out_with_a_note_and_many_are_refused(write):
    many = [example(n) for n in range(round(1 / MOST_LEFT_OUT) - 1)]
    odd = {"input": "Speaker 1: 'Well", "target": "yes"}
    task = load_bigbench(str(write([*many, odd])))["implicatures"]
    assert len(task.items) == len(many)
    (note,) = task.notes
    assert note.startswith("bb/implicatures.json: left out, as not of the form Speaker 1")
    assert note.endswith(f": {len(many) + 1}")
    line = error_of(write([odd, *many[:-1], odd]))
    assert line.startswith("input=\"Speaker 1: 'Well\", but should be Speaker 1: '...' Speaker 2")
    assert ", example 1]" in line
    assert "and 1 more" in line


def test_rephrasings_come_from_the_folder_of_tasks(write, tmp_path):
    path = tmp_path / "tasks/varied_instructions/implicatures_rephrased.csv"
    path.parent.mkdir(parents=True)
    rows = "".join(f"{n},Say {word} or no.\n" for n, word in enumerate(list(NUMBERS)[:10]))
    path.write_text(f"index,instruction\n{rows}10,Say zero or no.\n")
    folder = str(write(GOOD))
    task = load_bigbench(folder, tmp_path / "tasks")["implicatures"]
    assert len(task.rephrasings) == 10
    assert task.notes == ("1 repeated rephrasings are counted once",)
    assert load_bigbench(folder)["implicatures"].rephrasings == ()
    path.write_text("index,instruction\n0,Say it.\n")
    with pytest.raises(TaskError, match="different rephrasings=1"):
        load_bigbench(folder, tmp_path / "tasks")


def test_they_are_added_to_the_other_tasks_and_may_not_replace_them(write, tmp_path):
    folder = str(write(GOOD))
    assert list(_tasks(None, None)) == ["adj_comp", "adj_ant", "anim_color", "can_fly"]
    assert list(_tasks(None, folder))[-2:] == ["can_fly", "implicatures"]
    (tmp_path / "fruits.csv").write_text("query,color\nlemon,yellow\nplum,blue\n")
    (tmp_path / "tasks.toml").write_text(
        '[implicatures]\nfile = "fruits.csv"\nanswer = "color"\ninstruction = "Name it."\n'
        'prompt = "{query}:"\nvalid_columns = ["color"]\n'
    )
    with pytest.raises(TaskError, match="task=implicatures, but should be defined once"):
        _tasks(tmp_path, folder)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "file=empty"),
        ("{", "JSON=Expecting property name"),
        ("[" * 100_000, "JSON=nested too deeply"),
        ('{"examples": ' + "1" * 5000 + "}", "JSON=Exceeds the limit"),
        ({}, "examples=missing"),
        ("[]", "examples=missing"),
        ('"\x1b[2J"', "JSON=Invalid control character"),
        ({"examples": {"input": "x"}}, "examples={'input': 'x'}"),
        ([], "different inputs=0"),
        (GOOD[:1] * 3, "different inputs=1"),
        ([*GOOD, "x"], "example='x'"),
        ([*GOOD, None], "example=None"),
        ([*GOOD, {}], "input=missing"),
        ([*GOOD, example("x", input=7)], "input=7"),
        ([*GOOD, example("x", input=" \n")], "input=empty"),
        ([*GOOD, example("x\x1b[2J")], "input="),
        ([*GOOD, example("x\u202e")], "input="),
        ([*GOOD, example("x\ud800")], "input="),
        ([*GOOD, example("x" * 1000)], "input=1040 characters"),
        ([*GOOD, {"input": SPEAKERS}], "target=missing"),
        ([*GOOD, example("x", target_scores=None)], "target_scores=None"),
        ([*GOOD, example("x", target_scores={})], "target_scores={}"),
        ([*GOOD, example("x", target_scores={"yes": 1, "no": 1})], "target_scores={'yes': 1, 'no"),
        ([*GOOD, example("x", target_scores={"yes": 0, "no": 0})], "target_scores={'yes': 0, 'no"),
        ([*GOOD, example("x", target_scores={"yes": 0.5, "no": 0.5})], "target_scores={'yes': 0.5"),
        ([*GOOD, example("x", target_scores={"yes": "1", "no": 0})], "target_scores={'yes': '1'"),
        ([*GOOD, example("x", target_scores={"maybe": 1, "no": 0})], "target=maybe"),
        ([*GOOD, {"input": SPEAKERS, "target": ["yes", "no"]}], "target=yes, no"),
        ([*GOOD, {"input": SPEAKERS, "target": []}], "target=[]"),
        ([*GOOD, {"input": SPEAKERS, "target": [7]}], "target=[7]"),
        ([*GOOD, {"input": SPEAKERS, "target": "<b>\x1b[2J"}], "target=<b>"),
        ([*GOOD, example("old", target_scores={"yes": 0, "no": 1})], "repeated input="),
    ],
)
def test_malformed_files_are_refused_with_file_example_and_remedy(write, content, what):
    folder = write(content)
    line = error_of(folder)
    assert line.startswith(what)
    where = f"{folder / 'implicatures.json'}"
    if isinstance(content, list) and len(content) > len(GOOD):
        where += f", example {len(content)}"
    assert f"[{where}]" in line


@pytest.mark.parametrize(
    "target", ["many", "-1", "1.5", "", ["2", "three"], "9" * 5000, "two hundred"]
)
def test_a_count_that_is_no_number_is_refused(write, target):
    examples = [{"input": "I have a lamp.", "target": target}] * 2
    assert error_of(write(examples, "object_counting.json")).startswith("target=")


def test_folders_and_files_that_cannot_be_read_are_one_line(write, tmp_path):
    assert error_of(tmp_path / "none").startswith("bigbench=no folder")
    assert error_of(tmp_path).startswith("bigbench=none")
    folder = write(GOOD, "outside.json")
    (folder / "in").mkdir()
    (folder / "in/snarks.json").symlink_to(folder / "outside.json")
    assert error_of(folder / "in").startswith("file='snarks.json', but should be a file inside")
    (folder / "implicatures.json").mkdir()
    assert error_of(folder).startswith("kind=drwx")


def test_a_huge_file_is_refused_unread(write):
    folder = write(GOOD)
    with (folder / "implicatures.json").open("wb") as file:
        file.truncate(taskfiles.MAX_BYTES + 1)
    assert error_of(folder).startswith("size=over 5000000 bytes")


@given(content=st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["examples", "input", "target", "target_scores"]), inner),
    max_leaves=12,
))  # fmt: skip
def test_any_content_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    folder = tmp_path_factory.mktemp("any")
    data = content if isinstance(content, bytes) else json.dumps({"examples": content}).encode()
    (folder / "snarks.json").write_bytes(data)
    with suppress(TaskError):
        load_bigbench(str(folder))


# The hub

PROMPTS = {
    "metaphor_boolean": "The essence of the task: Given a metaphoric sentence, identify it.\n"
    "Q: {}\n  choice: True\n  choice: False\nA:",
    "implicatures": "Does Speaker 2's answer mean yes or no? \n\nQ: {} \nA:",
    "object_counting": "Q: {}\nA:",
    "snarks": "Q: {}\nA:",
}


def row_of(name: str, example: dict[str, Any]) -> dict[str, Any]:
    scores, target = example.get("target_scores", {}), example.get("target", [])
    return {
        "idx": 0,
        "inputs": PROMPTS[name].format(example["input"]),
        "targets": [target] if isinstance(target, str) else target,
        "multiple_choice_targets": list(scores),
        "multiple_choice_scores": [int(score) for score in scores.values()],
    }


@pytest.mark.parametrize("name", FORMS)
def test_a_row_of_the_hub_is_the_example_it_was_made_of(name):
    example, _ = EXAMPLES[name][0]
    assert bigbench_hub.example_of(row_of(name, example), "row 1") == example
    for inputs in ("no prompt", None):
        row = {**row_of(name, example), "inputs": inputs}
        with pytest.raises(TaskError, match=r"inputs=.*a prompt with Q: and A: \[row 1\]"):
            bigbench_hub.example_of(row, "row 1")


def test_the_hub_without_pyarrow_is_one_line(monkeypatch):
    monkeypatch.setattr(bigbench_hub, "find_spec", lambda _: None)
    line = error_of("hub")
    assert line.startswith("environment=without pyarrow, but should be able to read parquet files")
    assert "pip install 'ivclaims[bigbench]'" in line


def test_the_hub_without_network_is_one_line(monkeypatch):
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("cannot reach the hub\nand more")

    monkeypatch.setattr(bigbench_hub, "find_spec", str)
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(parquet=None))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    line = error_of("hub")
    assert line.startswith("examples=cannot reach the hub, but should be a file of the hub or its")
    assert "tasksource/bigbench, metaphor_boolean/train-00000-of-00001.parquet" in line


def test_the_hubs_files_are_read_as_data(monkeypatch, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def cached(dataset: str, file: str, repo_type: str) -> str:
        assert (dataset, repo_type) == ("tasksource/bigbench", "dataset")
        name, path = file.split("/")[0], tmp_path / file.replace("/", "-")
        rows = [row_of(name, example) for example, _ in EXAMPLES[name]]
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", cached)
    found = load_bigbench("hub")
    assert {name: list(task.items) for name, task in found.items()} == {
        name: [item for _, item in pairs] for name, pairs in EXAMPLES.items()
    }
    assert found["snarks"].source == "tasksource/bigbench, snarks"


# A run


@pytest.fixture
def judge(pytester, tmp_path):
    """Judge localization on the implicatures of a folder, with a small random model."""
    tokenizer, model = text_tokenizer("byte"), random_model("olmo2", 3)
    model.resize_token_embeddings(len(tokenizer))
    model.config.eos_token_id = tokenizer.eos_token_id
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "random-olmo2")

    def run(folder: Path) -> Any:
        return pytester.runpytest_inprocess(
            *(
                "--pyargs",
                "claims.instruction_vectors.test_localization",
                "--bigbench",
                str(folder),
            ),
            *("--checkpoint", str(tmp_path / "random-olmo2"), "--samples", "4"),
            *("--set", "instruction_vectors.orders=1"),
            *(
                "-k",
                "implicatures",
                "--measure-anyway",
                "--xfail-refuted",
                "-p",
                "no:cacheprovider",
            ),
        )

    return run


def test_a_cell_has_the_notes_of_its_task_and_the_command_that_repeats_it(judge, pytester, write):
    folder = write([example(f"<u>{n % 4}</u>") for n in range(5)])
    judge(folder)
    (cell,) = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
    assert cell.task == "implicatures"
    assert cell.notes[0] == "bb/implicatures.json: 1 repeated examples are counted once"
    assert cell.notes[1].startswith("4 answers begin with a token of white space alone")
    assert not any("logit_diff" in note for note in cell.notes)
    assert f"--bigbench {folder}" in cell.command
    html = shown(pytester.path / "reports" / "claims.html")
    assert "&lt;u&gt;0&lt;/u&gt;" in html
    assert "<u>0</u>" not in html


def test_a_malformed_file_ends_the_run_before_it_begins(judge, write):
    result = judge(write({}))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: examples=missing, but should be a list of examples *"])


# The samples of the four files


@pytest.fixture(scope="module")
def samples() -> dict[str, Task]:
    if not SAMPLES.is_dir():
        pytest.skip("no samples of BIG-bench")
    return load_bigbench(str(SAMPLES), REPHRASINGS)


def test_the_samples_load_whole_but_for_a_statement_that_is_cut_short(samples):
    assert {name: len(task.items) for name, task in samples.items()} == {
        "metaphor_boolean": 255,
        "implicatures": 255,
        "object_counting": 250,
        "snarks": 177,
    }
    assert [n for n in samples["snarks"].notes if "left out" in n and n.endswith(": 89")]
    for task in samples.values():
        assert 190 <= len(task.rephrasings) <= 200
        assert all(map(task.is_valid, (a for i in task.items for a in i.answers)))
        assert all(i.query.isprintable() and "  " not in i.query for i in task.items)


def test_the_samples_counts_are_judged_on_their_digit(samples):
    tokenizer, task = spacing_tokenizer("digits"), samples["object_counting"]
    for item in task.items:
        sample = tokenize_sample(
            tokenizer,
            query=item.query,
            instruction=task.instruction,
            prompt=task.prompt_for(item),
            answer=item.answers[0],
            contrast=None,
        )
        assert tokenizer.decode([sample.answer]) == item.answers[0][0]
        assert tokenizer.decode(sample.target).endswith("Answer: ")


def test_the_samples_labels_are_those_of_the_files(samples):
    letters = {"yes": "Y", "no": "N", "True": "Y", "False": "N", "(A)": "A", "(B)": "B"}
    for name, task in samples.items():
        examples = json.loads((SAMPLES / f"{name}.json").read_text())["examples"]
        kept = [one for one in examples if not one["input"].endswith("(A) The NB")]
        for one, item in zip(kept, task.items, strict=True):
            scores = one.get("target_scores", {})
            right = next((o for o in scores if scores[o]), one.get("target"))
            assert item.answers[0] == letters.get(right, right)
            assert one["input"].split()[-1] == item.query.split()[-1]
