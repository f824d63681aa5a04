import base64
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivevidence import (
    CellError,
    CellRecord,
    Claim,
    Comparison,
    Criterion,
    Decision,
    Drift,
    Expectation,
    Prompt,
    Table,
    render,
)
from ivevidence.records.rows import claim_rows
from ivevidence.report.comparison_text import decision_lines
from ivevidence.report.fragment import frame
from ivevidence.report.html import escape, tag
from ivevidence.report.matrix import anchors
from ivevidence.report.page import page
from ivevidence.report.row_text import cells_text, holds_text
from tests.evidence_examples import (
    CLAIMS,
    ERRORS,
    RUN,
    example_cell,
    example_cells,
    example_comparison,
)


class Page(HTMLParser):
    """Tags, attributes and texts of a report, what is packed included (or not)."""

    def __init__(self, source: str, *, unpack: bool = True) -> None:
        super().__init__(convert_charrefs=True)
        self.unpack = unpack
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
        packed = dict(attrs).get("data-iv-packed")
        if packed and self.unpack:
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
    report = Page(source)
    ids = [attrs["id"] for attrs in report.all("details", class_="iv-cell")]
    links = [attrs["href"] for name, attrs in report.tags if name == "a"]
    assert links.pop(0) == "#" + report.all("h2", tabindex="-1")[0]["id"]
    tables = [attrs["id"] for attrs in report.all("div", class_="iv-scroll") if "id" in attrs]
    assert [links.pop(0) for _ in CLAIMS] == [f"#{name}" for name in tables]
    assert len(ids) == len(set(ids)) == len(cells)
    assert sorted(links) == sorted(f"#{name}" for name in ids)


def test_the_report_opens_with_a_row_a_claim():
    claims = [replace(CLAIMS[0], quantifier="all"), replace(CLAIMS[1], title="<b>two</b>")]
    cells = [example_cell(claims[k], task=task) for k in (0, 1) for task in ("a", "b")]
    report = Page(source := render(cells))
    said = "|".join(report.texts)
    for row in claim_rows(cells):
        assert f"{row.title}|{row.name}|{holds_text(row)}|{cells_text(row)}" in said
    assert "|in all cells|" in said
    assert "|not stated in the claim's file|" in said
    places = [source.index(f'class="{name}"') for name in ("iv-rows", "iv-tiles", "iv-matrix")]
    assert places == sorted(places)


def test_a_claim_says_what_its_evidence_is_in_its_row_and_beside_its_rule():
    claim = replace(CLAIMS[0], level="L3", direction="both")
    said = Page(render([example_cell(claim)])).texts
    text = "L3, interventional, with no-op, matched null, and picking apart from deciding"
    assert said[said.index(claim.name) + 1] == text
    assert said[said.index("Level") + 1] == f"{text}; of what is necessary and sufficient"
    assert "Level" not in Page(render([example_cell()])).texts  # as before there were levels


@pytest.mark.parametrize(("side", "threshold"), [("below", "< 0.1"), ("within", "±0.1")])
def test_a_threshold_says_which_side_is_asked_for(side, threshold):
    criterion = Criterion("loss", "", 0.0, -0.05, 0.05, 0.1, 50, side=side)
    cell = replace(example_cell(), decision=Decision("supported", "", (criterion,)))
    assert threshold in Page(render([cell])).texts
    assert f"  loss=0 [-0.05, 0.05] against {threshold} (n=50): beyond" in decision_lines(
        cell.decision
    )


def test_rows_of_several_packs_stand_under_the_title_of_their_paper():
    other = replace(CLAIMS[1], name="second/two", paper="Second <Paper>, arXiv:1")
    cells = [example_cell(), replace(example_cell(CLAIMS[1]), claim=other)]
    source = render(cells)
    titles = re.findall(r'<th colspan="5" scope="rowgroup"><cite>(.*?)</cite>', source)
    assert titles == [CLAIMS[0].paper, "Second &lt;Paper&gt;, arXiv:1"]
    rows = source[source.index('class="iv-rows"') :]
    places = [rows.index(text) for text in (CLAIMS[0].paper, CLAIMS[0].name, "Second", other.name)]
    assert places == sorted(places)
    assert 'scope="rowgroup"><cite>' not in render(cells[1:])


def test_a_cell_shows_all_its_evidence():
    cell = example_cell()
    report = Page(render([cell]))
    said = " ".join(report.texts)
    wanted = [cell.claim.quote, cell.claim.rule, cell.claim.estimand, cell.decision.reason]
    wanted += [cell.command, *cell.notes, cell.tables[0].title, cell.controls[0].title, "T_inst"]
    wanted += [
        "patch site",
        "T_last",
        "9c" * 32,
        *cell.measurements.values(),
        "in the evidence file",
    ]
    wanted += [figure.title for figure in cell.figures]
    wanted += [criterion.name for criterion in cell.decision.criteria]
    assert [text for text in wanted if text not in said] == []
    assert len(report.all("svg")) == len(cell.figures) + 1


def test_a_closed_cell_says_its_verdict_and_criteria_and_what_else_there_is():
    cell = example_cell()
    closed = Page(render([cell]), unpack=False)
    said = " ".join(closed.texts)
    wanted = [cell.checkpoint, cell.task, cell.decision.reason, "in the evidence file", "script"]
    wanted += [c.name for c in cell.decision.criteria] + [f.title for f in cell.figures]
    wanted += [cell.tables[0].title, cell.controls[0].title, "prompts", "provenance"]
    assert [text for text in wanted if text not in said] == []
    packed = [cell.command, *cell.notes, "T_last", "9c" * 32, cell.samples[0]]
    assert [text for text in packed if text in said] == []
    assert not closed.all("svg")


def test_a_claim_is_written_once_for_all_of_its_cells(source):
    said = "".join(Page(source).texts)
    for claim in CLAIMS:
        assert [said.count(text) for text in (claim.quote, claim.estimand, claim.rule)] == [1] * 3
    assert "share of gap 0.1, concentration 0.25" in said


def test_two_wordings_of_a_claim_are_both_written():
    cell = example_cell()
    other = replace(cell, claim=replace(cell.claim, rule="supported if it rains"))
    said = "".join(Page(render([cell, other, cell])).texts)
    assert (said.count(cell.claim.rule), said.count("supported if it rains")) == (1, 1)


def test_samples_are_counted_and_named_in_the_provenance():
    report = Page(render([replace(example_cell(), samples=["q 1", "q 2"], per_sample={})]))
    assert "2 samples" in report.texts
    place = report.texts.index("2 samples")
    assert report.texts[place : place + 3] == ["2 samples", "q 1", "q 2"]
    assert report.all("details", class_="iv-samples") == [{"class": "iv-samples"}]


MARKED = {"as expected": 2, "changed": 3, "changed without drift": 2}
MARKED |= {"follows its gate": 1, "drifted": 1, "new": 4}


def compared() -> list[CellRecord]:
    marks = [mark for mark, times in MARKED.items() for _ in range(times)]
    cells = example_cells()[12 : 12 + len(marks)]
    return [example_comparison(cell, mark) for cell, mark in zip(cells, marks, strict=True)]


def test_every_cell_is_marked_by_how_it_stands_to_its_expectation():
    cells = compared()
    report = Page(render(cells))
    cell_marks = [attrs["data-expected"] for attrs in report.all("details", class_="iv-cell")]
    assert cell_marks == [mark for mark, times in MARKED.items() for _ in range(times)]
    said = " ".join(report.texts)
    assert (
        "Against main.json: 2 as expected, 3 changed, 2 changed without drift, 1 follows its gate, "
        "1 drifted, 4 new." in said
    )
    assert f" changed: refuted → {cells[2].decision.verdict}" in said
    assert f"changed without drift: refuted → {cells[5].decision.verdict}" in said
    shown = [text for text in report.texts if text in ("changed", "drifted", "new")]
    # In the matrix and among the filter's choices; what has no figure is said in the line as well.
    assert [shown.count(mark) for mark in ("changed", "new")] == [3 + 1, 2 * 4 + 1]
    options = [attrs["value"] for attrs in report.all("option")]
    assert options[-7:] == ["", *MARKED]


def test_the_verdicts_counted_are_those_measured():
    cells = compared()
    tiles = re.findall(r"<b>(\d+)</b>", render(cells).split("iv-tiles")[-1].split("</ul>")[0])
    bare = [replace(cell, comparison=None) for cell in cells]
    assert tiles == re.findall(
        r"<b>(\d+)</b>", render(bare).split("iv-tiles")[-1].split("</ul>")[0]
    )


def test_a_changed_cell_with_drifts_is_called_changed():
    cell = example_comparison(example_cell(), "changed")
    cell = replace(cell, comparison=replace(cell.comparison, drifted=("effect",)))
    assert 'data-expected="changed"' in render([cell])


def test_an_opened_cell_shows_what_was_expected_and_how_far_values_moved():
    cell = example_comparison(example_cell(), "drifted")
    texts = Page(render([cell])).texts
    said = "|".join(texts)
    c = cell.decision.criteria[0]
    assert "Before: tiny-olmo2-old in main.json." in texts
    assert "|verdict|supported|supported|" in said
    now = rf"0\.\d+ \[.*\], n {c.n}, threshold {c.threshold}: beyond"
    assert re.search(rf"\|{c.name}\|0\.125 \[0\.0625, 0\.25\], n 40\|{now}\|", said)
    assert f"|{cell.decision.criteria[1].name}|–|0." in said
    assert "|effect|−0.375|[−0.5, −0.25]|0.004|50|50|paired|drifted|" in said
    assert "|specific|0.0078|–|0.5|3|4|unpaired|within what is allowed|" in said
    warned = Page(render([example_comparison(example_cell(), "changed without drift")])).texts
    assert "no value drifted further than chance takes it" in " ".join(warned)
    new = Page(render([example_comparison(example_cell(), "new")])).texts
    assert "No entry for this cell in main.json." in new


def test_nothing_is_said_of_expectations_where_there_were_none(source):
    assert "data-expected" not in source
    assert 'name="expected"' not in source
    assert "Against" not in source


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"planned": 263}, "This run was interrupted: 2 of 263 cells were judged."),
        ({"interrupted": True}, "This run was interrupted: 2 cells were judged."),
        (
            {"interrupted": True, "planned": 4},
            "This run was interrupted: 2 of 4 cells were judged.",
        ),
        ({"planned": 3}, None),
        ({"interrupted": False}, None),
    ],
)
def test_an_interrupted_run_says_how_far_it_came(run, said):
    report = Page(render([example_cell()] * 2, errors=ERRORS, run=run))
    assert len(report.all("p", role="alert")) == (said is not None)
    assert said is None or said in report.texts


def test_expected_cells_that_are_not_there_are_named():
    run = {
        "missing": [
            "gone instruction_vectors/localization[adj_comp]",
            "gone instruction_vectors/stages[adj_ant]",
        ]
    }
    texts = Page(render([], run=run)).texts
    assert "Missing cells" in texts
    assert "gone instruction_vectors/localization[adj_comp]" in texts
    assert "gone instruction_vectors/stages[adj_ant]" in texts
    assert "Errors" not in texts
    assert "Missing cells" not in Page(render([], errors=ERRORS)).texts


def test_headings_begin_with_the_first_and_leave_none_out():
    report = Page(render(compared(), errors=ERRORS, run={**RUN, "missing": ["c"]}))
    levels = [int(name[1]) for name, _ in report.tags if re.fullmatch(r"h\d", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(b - a for a, b in pairwise(levels)) == 1


def test_what_can_be_used_or_seen_has_a_name_to_be_read_out():
    cells = compared()
    source = render(cells, run=RUN)
    report = Page(source)
    assert len(re.findall(r"<label>\w+<select ", source)) == len(report.all("select")) == 5
    assert all(attrs.get("aria-label") for attrs in report.all("svg", role="img"))
    assert len(report.all("svg", role="img")) == len(report.all("svg"))
    named = [attrs for attrs in report.all("table") if attrs.get("aria-label")]
    assert len(named) + len(report.all("caption")) == len(report.all("table"))
    chip = report.all("a", href=f"#{anchors(cells)[-1]}")[0]["aria-label"]
    cell = cells[-1]
    for part in (cell.claim.name, cell.checkpoint, cell.task, cell.metric, "not applicable", "new"):
        assert part in chip
    assert len(report.all("output", **{"aria-live": "polite"})) == 1


def test_texts_can_be_told_from_their_ground_in_light_and_dark():
    blocks = re.findall(r"\{([^{}]*--iv-page[^{}]*--iv-card[^{}]*)\}", render([]))
    assert len(blocks) == 2
    for block in blocks:
        colors = dict(re.findall(r"--iv-([\w-]+): (#\w+)", block))
        grounds = ("page", "card", "soft")
        pairs = [(text, ground) for text in ("ink", "muted", "link") for ground in grounds]
        for verdict in ("supported", "refuted", "inconclusive", "not_applicable"):
            pairs += [(verdict, ground) for ground in (*grounds, f"{verdict}-bg")]
            pairs += [(text, f"{verdict}-bg") for text in ("ink", "muted")]
        faint = {pair: contrast(colors[pair[0]], colors[pair[1]]) for pair in pairs}
        assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}
        assert contrast(colors["focus"], colors["page"]) >= 3


def contrast(one: str, other: str) -> float:
    """The ratio of luminances, as WCAG 2 defines it."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_paper_is_light_and_nothing_moves():
    style = render([]).split("<style>")[1].split("</style>")[0]
    assert re.findall(r"@media ([^{]*dark[^{]*) \{", style) == [
        "screen and (prefers-color-scheme: dark)"
    ]
    assert not re.search(r"transition|animation|smooth", style)


def test_a_page_is_a_whole_document_that_loads_nothing():
    text = page("<b>Audit", frame(tag("h1", "Audit of <x>"), label="Audit"))
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    document = Page(text)
    assert "<b>Audit" in document.texts
    assert document.all("section", class_="iv-report") == [
        {"class": "iv-report", "aria-label": "Audit"}
    ]
    assert document.all("meta", charset="utf-8")
    (policy,) = document.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; ")
    assert "http" not in policy["content"]
    assert "Audit of <x>" in document.texts


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
    said = replace(cell, decision=replace(cell.decision, reason="about 240 samples would decide"))
    assert render([said]).count("240 samples") == 1


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
    report = Page(source)
    for _, attrs in report.tags:
        for name in ("src", "href", "srcset", "action", "style", "data", "background"):
            value = attrs.get(name) or ""
            assert not value or value.startswith(("#", "data:image/png"))
    assert len(report.all("script")) == 1
    assert not re.search(r"(?:https?:)?//\w", render([], run=RUN))


def test_styles_touch_nothing_but_the_report_unless_they_say_so():
    style = render([]).split("<style>")[1].split("</style>")[0]
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    selectors = re.findall(r"([^{}]+)\{[^{}]*\}", style)
    outside = [s for s in selectors if not re.search(r"\.iv-", s) and not s.strip().startswith("@")]
    assert outside == []


def test_a_cell_that_weighs_as_much_as_a_real_one_costs_less_than_eleven_kilobytes():
    cells = [heavy_cell(k) for k in range(2)]
    assert len(json.dumps(cells[1].to_json())) > 20_000
    one, two = (len(render(some).encode()) for some in (cells[:1], cells))
    assert 5_000 < two - one < 11_000


def heavy_cell(seed: int) -> CellRecord:
    """A cell with figures and tables of a model of 16 layers, and 100 samples."""
    rng = np.random.default_rng(seed)
    rows = tuple((f"({i}, {i + 1})", *map(float, rng.normal(0.3, 0.1, 6))) for i in range(20))
    cell = example_cell(layers=16)
    return replace(
        cell,
        checkpoint=f"{cell.checkpoint}-{seed}",
        tables=(*cell.tables, Table("Tuples", ("tuple", *"abcdef"), rows)),
        samples=[f"a query of some length, number {i}" for i in range(100)],
        per_sample={name: rng.normal(0, 0.2, 100) for name in ("effect", "specific")},
    )


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
    run = {texts[2]: texts[3], "missing": texts[4:]}
    source = page(texts[5], render([_cell_saying(texts)], errors=[CellError(*texts[:2])], run=run))
    source.encode()
    for _, attrs in Page(source).tags:
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
    drift = Drift(d, 0.5, None, None, 0.5, (3, 3), False)
    criteria = (replace(cell.decision.criteria[0], name=a, description=b + "-", unit=c),)
    return replace(
        cell,
        claim=Claim(a, b, c, d, e, f, a, {b + "-": 0.5}),
        checkpoint=b,
        family=c + "-",
        stage=d,
        task=e,
        metric=f + "-",
        decision=Decision("inconclusive", a, criteria, chosen=b + "-"),
        tables=(Table(b, (c,), ((d,),), e + "-"),),
        controls=(Table(f, (a,), ((b,),)),),
        prompts=(Prompt(c, (d, e), {0: f}, a, b, f + "-"),),
        notes=(c,),
        measurements={d: e},
        samples=(a,),
        per_sample={f: (1.0,)},
        parameters={a: {b: c}},
        provenance={"x" + d: e},
        command=f + "-",
        comparison=Comparison(b, Expectation("supported", a), c, (drift,), (d,)),
    )


@given(st.text())
def test_escaped_text_reads_as_it_is_written(text):
    from ivevidence.figures.svg import visible_text

    report = Page(tag("p", text, title=text))
    expected = "\n".join(map(visible_text, text.replace("\r\n", "\n").split("\n")))
    assert "".join(report.texts) == expected
    assert report.tags == [("p", {"title": expected})]
    assert "<" not in escape(text)
    assert '"' not in escape(text)
