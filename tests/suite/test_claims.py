"""How tests declare claims: what is wrong is one line before anything is measured."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from ivevidence import Decision, Store, read_evidence
from ivfixtures.errors import error_line
from ivfixtures.measuring.inquiry import Closed, Declared, Gate, Inquiry, Then
from ivfixtures.measuring.requests import Request, needed
from ivfixtures.suite.asked import Asked
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed, Pairs
from ivfixtures.suite.papers import Paper, read_settings, setting, texts_of
from ivmethods.method import Array, Method
from ivmethods.model.methods import Runs
from tests.measured import Measured, data_of
from tests.running import printed, saved, write_tasks

PAPER = """
from ivfixtures.suite.papers import Paper

PAPER = Paper({name!r}, "a paper", "0000.00000")
"""
CLAIM = """
from ivevidence import Decision
from ivfixtures.suite.claims import claim
from ivfixtures.suite.kinds import Instructed
from {pack}.paper import PAPER

TEXTS = dict.fromkeys(("title", "section", "quote", "estimand", "rule"), "so")
CLAIM = PAPER.claim("it", level="L0", **TEXTS)


@claim(CLAIM, on=Instructed())
def test_it(cell):
    {line}
"""
CONCLUDED = 'cell.conclude(Decision("inconclusive", "so"))'


def declared(test, **more):
    return claim(SimpleNamespace(name="a/b"), on=Instructed(), **more)(test)


def test_a_test_takes_what_is_needed_and_nothing_else():
    def test_it(cell, runs):
        """Nothing."""

    assert declared(test_it, needs={"runs": Runs()}).__name__ == "test_it"
    for more in ({}, {"needs": {"runs": Runs(), "more": Runs()}}, {"needs": {"other": Runs()}}):
        with pytest.raises(ValueError, match=r"^arguments of the test=cell, runs, but should be"):
            declared(test_it, **more)
    then = {"runs": Then(lambda inquiry, **_: None, like=Runs())}
    with pytest.raises(ValueError, match=r"^names in needs and then=runs, but should be other"):
        declared(test_it, needs={"runs": Runs()}, then=then)
    with pytest.raises(ValueError, match=r"^gate=.*, but should be a Gate of ivfixtures"):
        declared(test_it, needs={"runs": Runs()}, gates=(lambda data, settings: None,))


@pytest.mark.parametrize("need", ["runs", Runs, [Runs()], lambda data, settings: "runs"])
def test_what_cannot_be_needed_is_one_line(need):
    with pytest.raises((ValueError, TypeError), match=r"but should be|positional"):
        needed(need, data_of(samples=4), None)


@pytest.mark.parametrize("verdict", ["supported", "refuted"])
def test_a_gate_neither_supports_nor_refutes(verdict):
    with pytest.raises(ValueError, match=f"^verdict of a gate={verdict}, but should be incon"):
        Closed(Decision(verdict, "so"))


@pytest.mark.parametrize("outcome", [True, False, Decision("inconclusive", "so")])
def test_a_gate_gives_none_or_closed(outcome):
    gates = [Gate("odd", lambda data, settings: outcome)]
    with pytest.raises(ValueError, match=r"^gate odd=.*, but should be None or a Closed"):
        Inquiry(Declared(gates), [data_of(samples=4)], None).ask(lambda request: None)


# ----------------------------------------------------------------------------- methods of others


class Plain(Method):
    """No value: its field is in no key."""

    name: ClassVar = "plain"

    def __init__(self, k):
        self.k = k


@dataclass(frozen=True)
class Nameless(Method):
    k: int


class Others:
    """Where a class may have the name of another one."""

    @dataclass(frozen=True)
    class Runs(Method):
        name: ClassVar = "runs"
        forms: ClassVar = {"value": Array("int64", "")}


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (Plain(1), "method=Plain, but should be a frozen dataclass itself"),
        (Nameless(1), "name of Nameless=None, but should be of type str"),
    ],
)
def test_a_method_whose_fields_are_not_all_is_refused(tmp_path, method, line):
    data = data_of(samples=4)
    measurements = Measured(Store(tmp_path)).measurements(data)
    with pytest.raises(ValueError, match=f"^{line}"):
        measurements.key(Request(data, method))


def test_methods_of_one_name_have_keys_of_their_own(tmp_path):
    data = data_of(samples=4)
    measurements = Measured(Store(tmp_path)).measurements(data)
    keys = [measurements.key(Request(data, method)) for method in (Runs(), Others.Runs())]
    assert [key["method"] for key in keys] == ["runs", "runs"]
    assert keys[0] != keys[1]
    assert keys[1]["class"] == "Others.Runs"


def test_arrays_come_in_one_order_whether_computed_or_read(tmp_path):
    arrays = {name: np.zeros(2) for name in "dbeac"}
    computed = Store(tmp_path).measure({"of": 1}, lambda: (arrays, {}))
    for _ in range(5):
        read = Store(tmp_path).measure({"of": 1}, lambda: ({}, {}))
        assert [*computed.arrays] == [*read.arrays] == sorted(arrays)


# ----------------------------------------------------------------------------- settings and kinds


def _flag(text):
    if text not in ("yes", "no"):
        raise KeyError(text)
    return text == "yes"


@dataclass(frozen=True)
class Settings:
    maybe: str | None = setting("", lambda text: text or None)
    flag: bool = setting("no", _flag)
    words: tuple[str, ...] = setting("a b,c", lambda text: tuple(text.split(",")))


def test_settings_are_told_as_they_were_written_and_read_back_the_same():
    paper = Paper("made", "a paper", "0000.00000", Settings)
    for given in ({}, {"flag": "yes", "words": " x,ü"}):
        texts = texts_of(paper, given)
        assert read_settings(paper, texts) == read_settings(paper, given)
        assert texts == {"maybe": "", "flag": "no", "words": "a b,c"} | given
    with pytest.raises(ValueError, match=r"^--set made\.flag=x, but should be a text that can"):
        read_settings(paper, {"flag": "x"})


def test_settings_are_made_of_settings():
    @dataclass(frozen=True)
    class Plain:
        word: str

    for kind in (Plain, int):
        with pytest.raises(ValueError, match=r"^settings=.*, but should be a frozen dataclass"):
            Paper("made", "a paper", "0000.00000", kind)


def test_a_name_alone_is_no_tuple_of_tasks():
    with pytest.raises(ValueError, match=r"^tasks='adj_ant', but should be a tuple of names"):
        Pairs("adj_ant")


@pytest.mark.parametrize(
    ("threshold", "side", "line"),
    [(0.1, "over", "side='over', but should be one of"), (-0.1, "within", "threshold=-0.1, but")],
)
def test_what_cannot_be_asked_is_one_line(threshold, side, line):
    with pytest.raises(ValueError, match=f"^{line}"):
        Asked("share", threshold, side)


# ------------------------------------------------------------------------------------ whole runs


def write_pack(folder, line=CONCLUDED, name=None):
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "paper.py").write_text(PAPER.format(name=name or folder.name))
    (folder / "test_it.py").write_text(CLAIM.format(pack=folder.name, line=line))
    return folder


@pytest.fixture
def run(pytester, tmp_path):
    """Judge packs in a process of its own, in an empty folder."""
    checkpoint, tasks = saved("olmo2", tmp_path / "random"), write_tasks(tmp_path / "tasks")

    def run(*packs, options=()):
        words = ("--checkpoint", checkpoint, "--tasks", tasks, "--samples", "4", *options)
        plain = ("-p", "no:cacheprovider", "-k", "adj_ant")
        return pytester.runpytest_subprocess(*map(str, (*packs, *words, *plain)))

    return run


@pytest.mark.parametrize("line", ["return None", "import pytest; pytest.skip('so')"])
def test_a_test_that_does_not_conclude_is_an_error(run, tmp_path, line):
    result = run(write_pack(tmp_path / "forgot", line))
    assert result.ret == 1
    expected = error_line("verdict", "missing", "concluded by the test", "test_it", "end the test")
    assert expected in printed(result)


def test_packs_outside_of_the_root_folder_keep_their_cells_apart(run, tmp_path, pytester):
    packs = [write_pack(tmp_path / "away" / name) for name in ("one", "two")]
    result = run(*packs, options=("--rootdir", str(pytester.path)))
    cells = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
    assert sorted(cell.claim.name for cell in cells) == ["one/it", "two/it"], printed(result)


def test_a_plan_tells_what_cannot_be_planned_and_the_rest(run, tmp_path):
    odd = write_pack(tmp_path / "odd")
    text = (odd / "test_it.py").read_text()
    text = text.replace("on=Instructed())", 'on=Instructed(), needs={"runs": "runs"})')
    (odd / "test_it.py").write_text(text.replace("(cell)", "(cell, runs)"))
    result = run(odd, write_pack(tmp_path / "well"), options=("--plan",))
    assert result.ret == 0, printed(result)
    result.stdout.fnmatch_lines(
        ["*behaviour*", "not planned: *need='runs', but should be a method*"]
    )
