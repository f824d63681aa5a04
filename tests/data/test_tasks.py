from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivfixtures.data import taskfiles
from ivfixtures.data.tasks import (
    Item,
    Task,
    TaskError,
    load_tasks,
    neutral_sentences,
    passed_over,
)
from ivmethods.prompts.answers import normalize_answer

AUTHORS = Path(__file__).parents[3] / "shared/paper/tasks"
HEADER = "query,adj_comp,adj_ant\n"
GOOD = HEADER + "big,bigger,small\nold,older,new\nhot,hotter,cold\n"
TASK = """
[fruit]
file = "fruits.csv"
answer = "color"
instruction = "Name the color of the fruit."
prompt = "Fruit: {query}. Answer:"
valid_columns = ["color"]
"""
FRUITS = "query,color,taste\nlemon,yellow,sour\nplum,blue,sweet\n"
PACKAGED = load_tasks()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def fruits(folder: Path) -> Callable[[str], Path]:
    def write(toml: str) -> Path:
        (folder / "tasks.toml").write_text(toml)
        (folder / "fruits.csv").write_text(FRUITS)
        return folder

    return write


def error_of(folder: Path) -> str:
    with pytest.raises(TaskError) as caught:
        load_tasks(folder)
    line = str(caught.value)
    assert re.fullmatch(r".+?=.*, but should be .+ \[.+\]; .+", line)
    assert line.isprintable()
    return line


# The packaged data


def test_packaged_tasks_are_two_contrastive_pairs_of_the_papers_instructions() -> None:
    assert list(PACKAGED) == ["adj_comp", "adj_ant", "anim_color", "can_fly"]
    for name, task in PACKAGED.items():
        assert task.name == name
        assert task.contrast is not None
        contrast = PACKAGED[task.contrast]
        assert contrast.contrast == name
        assert task.contrast_instruction == contrast.instruction
        assert [i.answers for i in task.items] == [i.contrast_answers for i in contrast.items]
        assert len(task.items) >= 150
        assert len(task.rephrasings) >= 200
        assert task.notes == ()
    assert PACKAGED["adj_ant"].instruction == "Given an adjective, state its antonym."
    assert PACKAGED["adj_comp"].prompt_for(PACKAGED["adj_comp"].items[0]) == (
        f"Adjective: {PACKAGED['adj_comp'].items[0].query}. Answer:"
    )


@pytest.mark.parametrize("task", PACKAGED.values(), ids=PACKAGED)
def test_packaged_answers_are_valid_and_the_contrasts_are_not(task: Task) -> None:
    wrong = [i for i in task.items if any(map(task.is_valid, i.contrast_answers))]
    assert all(task.is_valid(answer) for item in task.items for answer in item.answers)
    assert not wrong


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        (
            "adj_comp",
            ["bigger", "Worse.", "more careful", "less alert", "better", "slower", "'Older'."],
            ["big", "answer", "the bigger", "clever", "water", "", "more big dogs"],
        ),
        (
            "adj_ant",
            ["small", "Quiet.", '"noisy"', "horizontal", "unfriendly"],
            ["smaller", "more quiet", "lower", "adjective", "yes", "", "the small"],
        ),
        (
            "anim_color",
            ["grey", "Tan.", "golden", "silver", "violet"],
            ["yes", "bird", "colour", ""],
        ),
        ("can_fly", ["yes", "No.", "'yes'"], ["y", "yes it can", "maybe", "white", ""]),
    ],
)
def test_instruction_accuracy_accepts_the_kind_of_answer_asked_for(
    name: str, accepted: list[str], refused: list[str]
) -> None:
    task = PACKAGED[name]
    assert [word for word in accepted if not task.is_valid(word)] == []
    assert [word for word in refused if task.is_valid(word)] == []


def test_neutral_sentences_are_plain_and_set_no_task() -> None:
    sentences = neutral_sentences()
    assert len(set(sentences)) == len(sentences) >= 8
    words = {word.strip(".").lower() for text in sentences for word in text.split()}
    for text in sentences:
        assert 6 <= len(text.split()) <= 12
        assert re.fullmatch(r"[A-Z][A-Za-z ]+\.", text)
    colors = {color for item in PACKAGED["anim_color"].items for color in item.answers}
    animals = {item.query for item in PACKAGED["can_fly"].items}
    assert not words & (
        {"adjective", "animal", "answer", "color", "fly", "state", "given"} | colors
    )
    assert not words & animals


@pytest.mark.skipif(not AUTHORS.is_dir(), reason="the authors' task files are not at hand")
def test_the_authors_files_load_and_their_repeated_queries_are_noted() -> None:
    tasks = load_tasks(AUTHORS)
    assert {n: len(t.items) for n, t in tasks.items()} == {
        "adj_comp": 139,
        "adj_ant": 139,
        "anim_color": 193,
        "can_fly": 193,
    }
    assert all(len(task.rephrasings) == 200 for task in tasks.values())
    assert tasks["adj_ant"].notes == (
        "short: also tall",
        "safe: also unsafe",
        "quiet: also noisy",
    )
    quiet = next(i for i in tasks["adj_comp"].items if i.query == "quiet")
    assert quiet == Item("quiet", ("quieter",), ("loud", "noisy"))
    assert "quiet: contrast also noisy" in tasks["adj_comp"].notes
    assert passed_over(AUTHORS) == ("math.csv", "mushrooms.csv")


# Folders


def test_a_repeated_query_gains_answers_and_keeps_its_first_label(folder: Path) -> None:
    (folder / "adjectives.csv").write_text(GOOD + "big,bigger,little\nbig,Bigger,tiny\n")
    task = load_tasks(folder)["adj_ant"]
    assert task.items[0] == Item("big", ("small", "little", "tiny"), ("bigger",))
    assert [item.query for item in task.items] == ["big", "old", "hot"]
    assert task.notes == ("big: also little, tiny",)
    contrast = load_tasks(folder)["adj_comp"]
    assert contrast.items[0] == Item("big", ("bigger",), ("small", "little", "tiny"))
    assert contrast.notes == ("big: contrast also little, tiny",)


def test_a_folder_may_hold_some_of_the_tables(folder: Path) -> None:
    (folder / "adjectives.csv").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    (folder / "notes.csv").write_text("a,b\n")
    tasks = load_tasks(folder)
    assert list(tasks) == ["adj_comp", "adj_ant"]
    assert tasks["adj_comp"].rephrasings == ()
    assert tasks["adj_comp"].source == "data/adjectives.csv"
    assert passed_over(folder) == ("notes.csv",)


def test_a_folder_may_define_further_tasks_and_replace_packaged_ones(
    fruits: Callable[[str], Path],
) -> None:
    folder = fruits(TASK + TASK.replace("fruit]", "can_fly]").replace("Name", "Give"))
    (folder / "adjectives.csv").write_text(GOOD)
    tasks = load_tasks(folder)
    assert list(tasks) == ["adj_comp", "adj_ant", "fruit", "can_fly"]
    assert tasks["fruit"].contrast is tasks["fruit"].contrast_instruction is None
    assert tasks["fruit"].items == (Item("lemon", ("yellow",)), Item("plum", ("blue",)))
    assert tasks["can_fly"].instruction == "Give the color of the fruit."
    assert passed_over(folder) == ()


def test_braces_in_data_are_text(folder: Path) -> None:
    (folder / "adjectives.csv").write_text(GOOD + "{query}{0.__class__},odder,even\n")
    task = load_tasks(folder)["adj_comp"]
    assert task.prompt_for(task.items[-1]) == "Adjective: {query}{0.__class__}. Answer:"


def test_repeated_rephrasings_are_counted_once_and_noted(folder: Path) -> None:
    (folder / "adjectives.csv").write_text(GOOD)
    (folder / "varied_instructions").mkdir()
    path = folder / "varied_instructions" / "adj_ant_rephrased.csv"
    others = "".join(f"{i},Oppose it {i} times.\n" for i in range(3, 11))
    path.write_text(f'index,instruction\n0,"Say, the opposite."\n1,Oppose.\n2,Oppose.\n{others}')
    task = load_tasks(folder)["adj_ant"]
    assert task.rephrasings[:3] == ("Say, the opposite.", "Oppose.", "Oppose it 3 times.")
    assert len(task.rephrasings) == 10
    assert task.notes == ("1 repeated rephrasings are counted once",)


@pytest.mark.parametrize("again", ["", "9,oppose it 1 times!\n"])
def test_too_few_different_rephrasings_are_refused(folder: Path, again: str) -> None:
    (folder / "adjectives.csv").write_text(GOOD)
    (folder / "varied_instructions").mkdir()
    path = folder / "varied_instructions" / "adj_ant_rephrased.csv"
    few = "".join(f"{i},Oppose it {i} times.\n" for i in range(9))
    path.write_text(f"index,instruction\n{few}{again}")
    line = error_of(folder)
    assert line.startswith("different rephrasings=9, but should be at least 10 [")
    assert str(path) in line


@pytest.mark.parametrize(
    ("table", "what", "line"),
    [
        (b"", "file=empty", None),
        (b"\n \n", "file=empty", None),
        (b"\xef\xbb\xbf", "file=empty", None),
        (b"query,adj_comp\nbig,bigger\nold,older\n", "columns named adj_ant=0", 1),
        (b"query,adj_comp,adj\x1b[2J_ant\na,b,c\n", "columns named adj_ant=0", 1),
        (b"query,adj_comp,adj_ant,query\na,b,c,d\n", "columns named query=2", 1),
        (HEADER.encode(), "rows=0", None),
        (HEADER.encode() + b"big,bigger,small\n", "queries=1", None),
        (GOOD.encode() + b"wet,,dry\n", "cell adj_comp=empty", 5),
        (GOOD.encode() + b" ,wetter,dry\n", "cell query=empty", 5),
        (GOOD.encode() + b"wet,wetter,'.'\n", "cell adj_ant=\"'.'\"", 5),
        (GOOD.encode() + b"\n\nold, older,new\n", "row=old,older,new", 7),
        (GOOD.encode() + b"wet,wetter,Wetter.\n", "adj_comp and adj_ant='wetter' twice", 5),
        (GOOD.encode() + b"big,small,tiny\n", "adj_comp and adj_ant='small' twice", 5),
        (GOOD.encode() + b"wet,wetter,dry,damp\n", "cells=4", 5),
        (GOOD.encode() + b"wet,wetter\n", "cells=2", 5),
        (GOOD.encode() + b'"wet\nter",wetter,dry\n', r"cell query='wet\nter'", 5),
        (GOOD.encode() + b"w\x1b[2Jet,wetter,dry\n", r"cell query='w\x1b[2Jet'", 5),
        ((GOOD + "wet\u202e,wetter,dry\n").encode(), r"cell query='wet\u202e'", 5),
        ((GOOD + "e\u0301,etre,ete\n\u00e9,ere,ede\n").encode(), r"query='\xe9', but should be", 6),
        ((GOOD + "wet,\u00e9,dry\nraw,e\u0301,ede\n").encode(), r"adj_comp='e\u0301'", 6),
        (GOOD.encode() + b'wet,"wetter,dry\n', "CSV=unexpected end of data", 5),
        (GOOD.encode() + b'wet,"wetter"x,dry\n', "CSV=", 5),
        (GOOD.encode() + b"w" * 1001 + b",wetter,dry\n", "cell query=1001 characters", 5),
        (GOOD.encode() + "né,neer,vieux\n".encode("latin-1"), "encoding=byte 0xe9", 5),
        (GOOD.encode("utf-16"), "encoding=byte 0xff", 1),
    ],
)
def test_malformed_tables_are_refused_with_file_line_and_remedy(
    folder: Path, table: bytes, what: str, line: int | None
) -> None:
    (folder / "adjectives.csv").write_bytes(table)
    error = error_of(folder)
    where = str(folder / "adjectives.csv") + (f", line {line}" if line else "")
    assert error.startswith(what)
    assert f"[{where}]" in error


def test_a_huge_table_is_refused_unread(folder: Path) -> None:
    with (folder / "adjectives.csv").open("wb") as file:
        file.truncate(taskfiles.MAX_BYTES + 1)
    assert error_of(folder).startswith("size=over 5000000 bytes")


def test_a_label_that_is_no_valid_response_is_refused(folder: Path) -> None:
    table = "query,anim_color,can_fly\ncrow,black,yes\nemu,brown,sometimes\n"
    (folder / "animals.csv").write_text(table)
    error = error_of(folder)
    assert error.startswith("can_fly='sometimes', but should be a valid response of can_fly")
    assert "animals.csv, line 3]" in error


@pytest.mark.parametrize("create", [False, True])
def test_a_folder_without_tables_is_refused(tmp_path: Path, create: bool) -> None:
    if create:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "math.csv").write_text("query,basic_ans\n1,2\n")
    expected = "tasks=none" if create else "tasks=no folder"
    assert error_of(tmp_path / "data").startswith(expected)


def test_malformed_rephrasings_are_refused(folder: Path) -> None:
    (folder / "adjectives.csv").write_text(GOOD)
    (folder / "varied_instructions").mkdir()
    path = folder / "varied_instructions" / "adj_ant_rephrased.csv"
    path.write_text("index,instruction\n0,Oppose.\n1,\n")
    assert f"[{path}, line 3]" in error_of(folder)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('file = "fruits.csv"', "", "file=missing"),
        ('"fruits.csv"', '"none.csv"', "file=missing"),
        ('"fruits.csv"', '"../fruits.csv"', "file='../fruits.csv'"),
        ('"fruits.csv"', r'"..\\fruits.csv"', "file='..\\\\fruits.csv'"),
        ('"fruits.csv"', '"C:/fruits.csv"', "file='C:/fruits.csv'"),
        ('"fruits.csv"', '"/etc/passwd"', "file='/etc/passwd'"),
        ('"fruits.csv"', '"link.csv"', "file='link.csv'"),
        ('"fruits.csv"', '""', "file=''"),
        ('"fruits.csv"', "7", "file=7"),
        ('"Name the color of the fruit."', '" "', "instruction=empty"),
        ('"Name the color of the fruit."', r'"a\nb"', r"instruction='a\nb'"),
        ("fruit.\"", "fruit. \"", "instruction='Name the color of the fruit. '"),
        ('"Name', '" Name', "instruction=' Name the color of the fruit.'"),
        ("Answer:", "Answer: ", "prompt='Fruit: {query}. Answer: '"),
        ("{query}", "{}", "prompt='Fruit: {}. Answer:'"),
        ("{query}", "{query} {query}", "prompt='Fruit: {query} {query}. Answer:'"),
        ('answer = "color"', 'answer = "colour"', "columns named colour=0"),
        ('answer = "color"', 'answer = "color"\nsource = "me"', "key='source'"),
        ('["color"]', '"color"', "valid_columns='color'"),
        ('["color"]', "[1]", "valid_columns=[1]"),
        ('["color"]', '["shape"]', "columns named shape=0"),
        ('["color"]', '["taste"]', "color='yellow', but should be a valid response of fruit"),
        ('valid_columns = ["color"]', "", "valid responses=none"),
        ('valid_columns = ["color"]', 'valid_pattern = "(["', "valid_pattern='(['"),
        ('valid_columns = ["color"]', 'valid_file = "/etc/passwd"', "file='/etc/passwd'"),
        ('valid_columns = ["color"]', 'valid_file = "words.txt"', "file=missing"),
        ('valid_columns = ["color"]', 'valid_words = ["?!"]', "valid_words='?!'"),
        ('valid_columns = ["color"]', r'valid_words = ["a\nb"]', r"valid_words='a\nb'"),
        ("[fruit]", '["fruit/../x"]', "task='fruit/../x'"),
        ("[fruit]", 'n = 1\n[fruit]', "n=1"),
        ("[fruit]", "[fruit", "TOML="),
        ('answer = "color"', 'answer = "color"\ncontrast = "taste"', "contrast='taste'"),
        ('answer = "color"', 'answer = "color"\ncontrast = "fruit"', "contrast='fruit'"),
    ],
)  # fmt: skip
def test_malformed_definitions_are_refused(
    fruits: Callable[[str], Path], old: str, new: str, what: str
) -> None:
    folder = fruits(TASK.replace(old, new))
    (folder.parent / "fruits.csv").write_text(FRUITS)
    (folder / "link.csv").symlink_to(folder.parent / "fruits.csv")
    assert error_of(folder).startswith(what)


def test_a_listed_response_that_nothing_matches_is_refused_by_its_line(
    fruits: Callable[[str], Path],
) -> None:
    folder = fruits(TASK.replace('valid_columns = ["color"]', 'valid_file = "words.txt"'))
    (folder / "words.txt").write_text("yellow\nblue # dark\n\n...\n")
    line = error_of(folder)
    assert line.startswith("valid response='...', but should be a response that is more than")
    assert f"[{folder / 'words.txt'}, line 4]" in line


def test_answers_of_composed_and_decomposed_letters_are_one() -> None:
    assert normalize_answer("Cafe\u0301.") == normalize_answer("caf\u00e9")


@pytest.mark.parametrize(
    ("back", "answer", "file", "expected"),
    [
        ("fruit", "taste", "fruits.csv", None),
        ("other", "taste", "fruits.csv", "a task whose own contrast is"),
        ("fruit", "color", "fruits.csv", "a task on fruits.csv with another answer column"),
        ("fruit", "taste", "other.csv", "with another answer column"),
    ],
)
def test_contrasts_are_mutual_and_on_the_same_queries(
    fruits: Callable[[str], Path], back: str, answer: str, file: str, expected: str | None
) -> None:
    one = TASK.replace("prompt", 'contrast = "second"\nprompt')
    two = one.replace("[fruit]", "[second]").replace('"second"', f'"{back}"')
    two = two.replace('"color"', f'"{answer}"').replace("fruits.csv", file)
    third = TASK.replace("[fruit]", "[other]")
    folder = fruits(one + two + third)
    (folder / "other.csv").write_text(FRUITS)
    if expected is None:
        assert load_tasks(folder)["second"].contrast == "fruit"
    else:
        assert expected in error_of(folder)


# Answers, samples, digests


@pytest.mark.parametrize(
    ("answer", "normalized"),
    [
        (" Small.\n", "small"),
        ('"More  alert".', "more alert"),
        ("\u2018yes\u2019!", "yes"),
        ("reddish-brown", "reddish-brown"),
        ("don't", "don't"),
        ("...", ""),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
    ],
)
def test_answers_are_normalized(answer: str, normalized: str) -> None:
    assert normalize_answer(answer) == normalized


@given(st.text(st.sampled_from("aÉ '\".,!\n\t\u2018\u2019«»İ-") | st.characters(), max_size=20))
def test_normalizing_twice_changes_nothing(answer: str) -> None:
    once = normalize_answer(answer)
    assert normalize_answer(once) == once
    assert once == once.strip()


@given(st.binary(max_size=60))
def test_any_bytes_load_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "adjectives.csv").write_bytes(HEADER.encode() + data)
    with suppress(TaskError):
        load_tasks(folder)


@given(n=st.integers(1, 200), seed=st.integers(0, 2**40))
def test_samples_are_distinct_nested_and_shared_by_the_pair(n: int, seed: int) -> None:
    task, contrast = PACKAGED["adj_comp"], PACKAGED["adj_ant"]
    drawn = task.sample(n, seed=seed)
    assert len(set(drawn)) == len(drawn) == min(n, len(task.items))
    assert task.sample(n + 1, seed=seed)[:n] == drawn
    assert [i.query for i in contrast.sample(n, seed=seed)] == [i.query for i in drawn]


def test_samples_come_from_hashes_and_not_from_the_order_of_rows() -> None:
    task = PACKAGED["can_fly"]
    queries = [item.query for item in task.items]
    ranked = sorted(queries, key=lambda q: hashlib.sha256(f"7:{q}".encode()).hexdigest())
    shuffled = replace(task, items=task.items[::-1])
    assert [i.query for i in task.sample(5, seed=7)] == ranked[:5]
    assert shuffled.sample(5, seed=7) == task.sample(5, seed=7)
    assert task.sample(50, seed=8) != task.sample(50, seed=7)


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="n=0, but should be at least 1"):
        PACKAGED["can_fly"].sample(0, seed=0)


def test_the_digest_covers_what_is_measured_and_nothing_else() -> None:
    task = PACKAGED["adj_comp"]
    first = task.items[0]
    same = replace(task, name="x", notes=("n",), source="y", rephrasings=(), contrast="z")
    assert same.digest == task.digest
    assert re.fullmatch("[0-9a-f]{64}", task.digest)
    changed = [
        replace(task, instruction="Other."),
        replace(task, prompt="{query}"),
        replace(task, contrast_instruction=None),
        replace(task, items=task.items[1:]),
        replace(task, items=(replace(first, query="x"), *task.items[1:])),
        replace(task, items=(replace(first, answers=("x",)), *task.items[1:])),
        replace(task, items=(replace(first, contrast_answers=("x",)), *task.items[1:])),
        replace(task, valid=replace(task.valid, words=frozenset())),
        replace(task, valid=replace(task.valid, pattern=None)),
        replace(task, valid=replace(task.valid, pattern_except=frozenset())),
    ]
    assert len({task.digest, *(other.digest for other in changed)}) == len(changed) + 1
