import base64
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivevidence import CellError, CellRecord, Decision, Prompt, Table, render
from ivevidence.html import escape, tag
from ivevidence.report_matrix import anchors
from tests.evidence_examples import ERRORS, RUN, example_cell, example_cells


class Page(HTMLParser):
    """Tags, attributes and texts of a report, its packed figures included."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("input", "meta", "br"):
            self.open.append(tag)
        if packed := dict(attrs).get("data-iv-packed"):
            inner = Page(zlib.decompress(base64.b64decode(packed)).decode())
            self.tags += inner.tags
            self.texts += inner.texts

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}.items()
        return [attrs for name, attrs in self.tags if name == tag and wanted <= attrs.items()]


@pytest.fixture(scope="module")
def cells():
    return [
        replace(cell, figures=cell.figures * (k == 50)) for k, cell in enumerate(example_cells())
    ]


@pytest.fixture(scope="module")
def source(cells):
    return render(cells, errors=ERRORS, run=RUN)


def test_every_cell_is_linked_from_the_matrix_and_has_its_place(cells, source):
    page = Page(source)
    ids = [attrs["id"] for attrs in page.all("details", class_="iv-cell")]
    links = [attrs["href"] for name, attrs in page.tags if name == "a"]
    assert len(ids) == len(set(ids)) == len(cells)
    assert sorted(links) == sorted(f"#{name}" for name in ids)


def test_a_cell_shows_all_its_evidence():
    cell = example_cell()
    page = Page(render([cell]))
    said = " ".join(page.texts)
    wanted = [cell.claim.quote, cell.claim.rule, cell.claim.estimand, cell.decision.reason]
    wanted += [cell.command, *cell.notes, cell.tables[0].title, cell.controls[0].title, "T_inst"]
    wanted += ["patch site", "T_last", "9c" * 32, *cell.measurements.values(), "evidence.json"]
    wanted += [figure.title for figure in cell.figures]
    wanted += [criterion.name for criterion in cell.decision.criteria]
    assert [text for text in wanted if text not in said] == []
    assert len(page.all("svg")) == len(cell.figures) + 1


def test_counts_of_verdicts_errors_and_run_are_said(cells, source):
    said = " ".join(Page(source).texts)
    assert f"{len(cells)} cells" in said
    assert ERRORS[0].message in said
    assert RUN["command"] in said
    for verdict in ("supported", "refuted", "inconclusive", "not_applicable"):
        count = sum(cell.decision.verdict == verdict for cell in cells)
        tile = rf'<b>{count}</b><span class="iv-verdict">[^/]*</span>{verdict.replace("_", " ")}'
        assert re.search(tile, source)


def test_a_verdict_that_more_samples_would_decide_says_how_many():
    cell = replace(example_cell(), decision=Decision("inconclusive", "open", (), 240))
    assert "About 240 samples would decide." in render([cell])


def test_families_stand_together_in_the_order_given(source):
    said = "".join(Page(source).texts)
    said = said[said.index("family tiny-olmo2") :]
    names = ("family tiny-olmo2", "tiny-olmo2-base", "tiny-olmo2-sft", "family tiny-olmo2-planted")
    places = [said.index(name) for name in names]
    assert places == sorted(places)


def test_no_cells_at_all_is_said():
    assert "No cell was judged." in Page(render([])).texts
    assert "boom" in Page(render([], errors=[CellError("c", "boom")])).texts


def test_two_cells_of_one_name_get_two_places():
    assert len(set(anchors([example_cell()] * 3))) == 3


def test_the_same_records_give_the_same_page():
    assert render(example_cells()[4:6], run=RUN) == render(example_cells()[4:6], run=RUN)


def test_nothing_is_loaded_from_elsewhere(source):
    page = Page(source)
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "style", "data", "background"):
            value = attrs.get(name) or ""
            assert not value or value.startswith(("#", "data:image/png"))
    assert len(page.all("script")) == 1
    assert not re.search(r"(?:https?:)?//\w", render([], run=RUN))


def test_styles_touch_nothing_but_the_report_unless_they_say_so():
    style = render([]).split("<style>")[1].split("</style>")[0]
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    selectors = re.findall(r"([^{}]+)\{[^{}]*\}", style)
    outside = [s for s in selectors if not re.search(r"\.iv-", s) and not s.strip().startswith("@")]
    assert outside == []


@pytest.mark.slow
def test_five_hundred_cells_stay_below_ten_megabytes():
    cells = example_cells(copies=9)[:500]
    assert len(render(cells, run=RUN).encode()) < 10_000_000


def test_a_cell_costs_less_than_twenty_kilobytes():
    one, two = (len(render(cells)) for cells in ([example_cell()], [example_cell()] * 2))
    assert two - one < 20_000


hostile = st.sampled_from(
    [
        "<script>document.title='x'</script>",
        "</script><script>alert(1)</script>",
        "</style><img src=x onerror=alert(1)>",
        '" onmouseover="alert(1)',
        "' onfocus='alert(1)",
        "<!--",
        "]]>",
        "&lt;b&gt;",
        "</details></section>",
        "javascript:alert(1)",
        "\x00\x1b[31m\ud800\u202e",
    ]
) | st.text(max_size=12)  # fmt: skip


@given(st.lists(hostile, min_size=6, max_size=6))
@settings(deadline=None, max_examples=15)
def test_text_from_data_never_becomes_markup(texts):
    source = render([_cell_saying(texts)], errors=[CellError(*texts[:2])], run={texts[2]: texts[3]})
    source.encode()
    page = Page(source)
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert not (attrs.get("href") or "#").startswith("javascript")
    assert _skeleton(_cell_saying(texts)) == _skeleton(_cell_saying(list("abcdef")))


def _skeleton(cell: CellRecord) -> list[tuple[str, tuple[str, ...]]]:
    """Tags with the names of their attributes, figures aside: data must not change them."""
    figureless = replace(cell, figures=())
    source = render([figureless], errors=[CellError("a", "b")], run={"c": "d"})
    tags = [(name, tuple(attrs)) for name, attrs in Page(source).tags]
    return [entry for entry in tags if entry[0] not in ("path", "text", "svg")]


def _cell_saying(texts: list[str]) -> CellRecord:
    a, b, c, d, e, f = texts
    cell = example_cell()
    criteria = (replace(cell.decision.criteria[0], name=a, description=b + "-", unit=c),)
    return replace(
        cell,
        claim=replace(cell.claim, name=a, title=b, paper=c, section=d, quote=e, estimand=f, rule=a),
        checkpoint=b,
        family=c + "-",
        stage=d,
        task=e,
        metric=f + "-",
        decision=Decision("refuted", a, criteria),
        tables=(Table(b, (c,), ((d,),), e + "-"),),
        controls=(Table(f, (a,), ((b,),)),),
        prompts=(Prompt(c, (d, e), {0: f}, a, b),),
        notes=(c,),
        measurements={d: e},
        samples=(a,),
        per_sample={f: (1.0,)},
        parameters={a: {b: c}},
        provenance={"x" + d: e},
        command=f + "-",
    )


@given(st.text())
def test_escaped_text_reads_as_it_is_written(text):
    from ivevidence.svg import visible_text

    page = Page(tag("p", text, title=text))
    expected = "\n".join(map(visible_text, text.replace("\r\n", "\n").split("\n")))
    assert "".join(page.texts) == expected
    assert page.tags == [("p", {"title": expected})]
    assert "<" not in escape(text)
    assert '"' not in escape(text)
