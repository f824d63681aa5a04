"""Figures: what holds for every kind, what a reader reads from each, and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivevidence import EvidenceError, Figure, draw
from ivevidence.figures.axes import ticks
from ivevidence.figures.data import FIGURE_DATA, SIDES
from ivevidence.figures.text import format_number, two_digits
from ivevidence.report.terminal import GLYPHS
from tests import figure_examples
from tests.evidence_examples import example_cell
from tests.figure_examples import EXAMPLES
from tests.svg_reading import (
    assert_inside,
    assert_legible,
    colored,
    elements,
    label,
    parsed,
    pixels,
    points,
    words,
)

HOSTILE = ("<script>alert(1)</script>", "$x^2$", '"><svg onload=x>', "]]>", "&amp;", "\x00\n\x1b")
HOSTILE += ("\ud800", "\u202e", "漢字🙂", "", " ", "]]>" * 9, "x" * 300)
ALL = (example_cell().figures[0], *EXAMPLES)
NUMBERS = st.floats(-1e300, 1e300)
OUTCOMES = (*GLYPHS, "beyond", "short", "open")


def series(name, values, **bounds) -> dict:
    return {"name": name, "values": values, **bounds}


def matrix(values, *, marked=(), **data) -> Figure:
    values = np.array(values, dtype=float)
    names = [[f"{axis}{k}" for k in range(n)] for axis, n in zip("rc", values.shape, strict=True)]
    panel = {"title": "panel", "values": values, "marked": marked}
    data = {"rows": names[0], "columns": names[1], "panels": [panel], **data}
    return Figure("matrix", "", "", {"row_label": "row", "column_label": "column", **data})


def bars(*rows, **data) -> Figure:
    names = [f"c{k}" for k in range(len(rows[0]["values"]))] if rows else []
    return Figure("bars", "", "", {"categories": names, "series": rows, **data})


def lines(*rows, **data) -> Figure:
    x = range(len(rows[0]["values"])) if rows else []
    return Figure("lines", "", "", {"x": [*x], "series": rows, "x_label": "layer", **data})


def cloud(*classes) -> Figure:
    found = [{"name": f"class {k}", "points": p, "hollow": h} for k, (p, h) in enumerate(classes)]
    return Figure("points", "", "", {"classes": found, "filled": "fitted", "hollow": "held out"})


def row(outcome="supported", estimate=None, low=None, high=None, threshold=None, **more) -> dict:
    bounds = {"estimate": estimate, "low": low, "high": high, "threshold": threshold}
    return {"outcome": outcome, **bounds, **more}


def intervals(*rows, **data) -> Figure:
    estimates = [{"name": f"e{k}", **each} for k, each in enumerate(rows)]
    return Figure("intervals", "", "", {"estimates": estimates, **data})


def with_texts(value, text: str):
    """The data of a figure with all its texts replaced."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {key: with_texts(item, text) for key, item in value.items()}
    return [with_texts(item, text) for item in value] if isinstance(value, list) else value


def test_every_kind_has_an_example():
    assert {figure.kind for figure in ALL} == set(FIGURE_DATA)


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: figure.title)
def test_figures_stand_in_any_page_in_any_color_scheme(figure):
    svg = draw(figure)
    assert draw(Figure.from_json(figure.to_json())) == svg
    assert " id=" not in svg
    assert_inside(svg)
    assert_legible(svg)
    root = parsed(svg)
    assert root.get("fill") == "currentColor"
    assert root.get("role") == "img"
    assert figure.title in root.get("aria-label")
    assert len(svg) < 60_000


@pytest.mark.parametrize("figure", EXAMPLES[1:], ids=lambda figure: figure.title)
def test_colors_show_on_light_and_on_dark_pages(figure):
    for color in colored(draw(figure)):
        parts = np.array([int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        luminance = linear @ (0.2126, 0.7152, 0.0722)
        assert 1.05 / (luminance + 0.05) >= 3  # on white
        assert (luminance + 0.05) / (0.0134 + 0.05) >= 3  # on the dark card, #191f26


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: figure.title)
@given(text=st.sampled_from(HOSTILE) | st.text(max_size=40))
@settings(deadline=None, max_examples=15)
def test_text_from_data_stays_text(figure, text):
    data = with_texts(figure.to_json()["data"], text)
    svg = draw(replace(figure, title=text, data=data))
    svg.encode()
    assert_inside(svg)
    assert float(parsed(svg).get("viewBox").split()[2]) < 1000  # whatever the texts
    tags = {element.tag.split("}")[1] for element in parsed(svg).iter()}
    assert tags <= {"svg", "path", "text", "image"}
    attributes = {name for e in parsed(svg).iter() for name in e.attrib}
    assert not [name for name in attributes if name.startswith("on")]
    assert {e.get("href", "data:image/png;")[:15] for e in parsed(svg).iter()} == {
        "data:image/png;"
    }


def shown(figure: Figure) -> list[str]:
    """The words of a figure that has everything inside it and nothing on top of each other."""
    svg = draw(figure)
    assert_inside(svg)
    assert_legible(svg)
    return words(svg)


VALUES = st.lists(st.tuples(NUMBERS | st.none(), NUMBERS, NUMBERS), max_size=12)


@given(VALUES, NUMBERS | st.none(), st.integers(1, 10), st.booleans())
@settings(deadline=None, max_examples=25)
def test_any_series_are_drawn_and_named(found, threshold, count, marked):
    values = [value for value, *_ in found]
    lows, highs = ([end(pair) for _, *pair in found] for end in (min, max))
    row = series("s", values, lows=lows, highs=highs)
    rows = [{**row, "name": f"s{k}"} for k in range(count)]
    marks = {len(values) - 1: "here"} if marked and values else {}
    said = shown(bars(*rows, threshold=threshold, marks=marks))
    names = {f"c{k}" if k not in marks else f"c{k}  here" for k in range(len(values))}
    assert names <= set(said)
    for drawn in (said, shown(lines(*rows, threshold=threshold))):
        assert count == 1 or {row["name"] for row in rows} <= set(drawn)
        assert any(word.startswith("threshold") for word in drawn) == (threshold is not None)
    counts = series("n", [abs(value) for value in values if value is not None])
    assert {"0"} <= set(shown(bars(counts, counts, counts, log=True, overlaid=True)))
    levels = series("w", [k % 3 for k in range(count)])
    assert {"a", "b", "c  c"} <= set(shown(lines(levels, levels, levels=[*"abc"], marks={2: "c"})))


@given(
    st.lists(st.lists(NUMBERS | st.none(), min_size=3, max_size=3), max_size=9), st.integers(0, 12)
)
@settings(deadline=None, max_examples=40)
def test_any_matrix_is_drawn_and_its_largest_value_said(values, panels):
    table = {"title": "one", "values": values, "marked": [[k, k % 3] for k in range(len(values))]}
    data = {"rows": [f"r{k}" for k in range(len(values))], "columns": [*"abc"]}
    figure = Figure("matrix", "", "", {**data, "panels": [table] * panels, "row_label": "row"})
    said = shown(figure)
    known = [(v, f"row r{i}") for i, row in enumerate(values) for v in row if v is not None]
    assert said.count("one") == panels
    if known and panels:
        assert f"largest {format_number(max(known)[0])} at row" in label(draw(figure))
        assert ("no value" in said) == (len(known) < 3 * len(values))
    elif panels:
        assert "no values" in label(draw(figure))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20))
@settings(deadline=None, max_examples=40)
def test_any_points_are_drawn_and_counted(found):
    filled, hollow = found[::2], found[1::2]
    assert "class 0" in shown(cloud((filled, hollow)))
    assert f"class 0: {len(filled)} and {len(hollow)}" in label(draw(cloud((filled, hollow))))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*OUTCOMES, None]), *[NUMBERS | st.none()] * 3, st.sampled_from(SIDES)
        )
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_any_intervals_are_drawn_with_their_numbers(found, one_scale):
    rows = []
    for outcome, estimate, one, other, side in found:
        low, high = sorted((one, other)) if None not in (one, other) else (one, other)
        rows.append(row(outcome, estimate, low, high, other, side=side))
    said = shown(intervals(*rows, one_scale=one_scale, unit="share"))
    for k, each in enumerate(rows):
        assert f"e{k}" in said
        numbers = [format_number(each[name]) for name in ("estimate", "low", "high")]
        if set(numbers) != {"–"}:
            assert any("{} [{}, {}]".format(*numbers) in text for text in said)


@pytest.mark.parametrize("count", [0, 1, 2, 60, 300])
def test_few_and_many_are_drawn_in_a_page_that_stays_small(count):
    names = tuple(f"t{k}" for k in range(count))
    for figure in (
        figure_examples.history(count),
        figure_examples.bars(names, ("one",)),
        figure_examples.lines(max(count, 1)),
        figure_examples.points(count, names[:12]),
        matrix(np.ones((count, 2)), marked=[[k, 1] for k in range(count)]),
        matrix(np.ones((2, count))),
    ):
        shown(figure)
        assert len(draw(figure)) < 8_000 + 900 * count


def test_series_are_told_apart_without_color():
    names = [f"s{k}" for k in range(10)]
    for drawn in (bars, lines):
        drawn_in = colored(draw(drawn(*(series(name, [1, 2]) for name in names))))
        styles = {
            tuple(
                (e.get("stroke-dasharray"), e.get("opacity"), "z" in e.get("d"))
                for e in found
                if e.get("stroke") == color
            )
            for color, found in drawn_in.items()
        }
        assert len(styles) == len(drawn_in) == len(names)
    for found in drawn_in.values():  # of lines, which look as their samples in the legend do
        assert len({e.get("stroke-dasharray") for e in found if e.get("stroke")}) == 1


def test_rows_and_columns_of_a_matrix_are_where_they_are_said_to_be():
    values = np.zeros((3, 2))
    values[0, 1], values[1, 0], values[2, 0] = 1.0, -1.0, np.nan
    svg = draw(matrix(values, marked=[[2, 1]], mark="chosen"))
    (image,) = maps(svg)
    dark = pixels(image)[..., :3].sum(axis=-1)
    assert dark[0, 1] < 300 > dark[1, 0]
    assert not np.array_equal(pixels(image)[0, 1], pixels(image)[1, 0])
    assert pixels(image)[0, 0].tolist() == [255] * 4
    assert pixels(image)[2, 0, 3] < 255
    assert {"1.00", "−1.00", "chosen", "no value", "r0", "c1", "−1"} <= set(words(svg))
    assert "panel: largest 1 at row r0, column c1, 1 chosen" in label(svg)
    heights = [float(e.get("y")) for name in ("r0", "r1", "r2") for e in texts(svg, name)]
    assert heights == sorted(heights)
    plain = elements(draw(matrix([[1, 2], [3, 4], [5, 6]])), "text")
    read = sorted(plain, key=lambda text: (float(text.get("y")), float(text.get("x"))))
    numbers = [text.text for text in read if ".00" in (text.text or "")]
    assert numbers == ["1.00", "2.00", "3.00", "4.00", "5.00", "6.00"]
    assert not {"chosen", "no value"} & {text.text for text in plain}


def maps(svg: str) -> list:
    """The images of the panels: the last one is the scale."""
    return elements(svg, "image")[:-1]


def texts(svg: str, text: str) -> list:
    return [element for element in elements(svg, "text") if element.text == text]


def test_panels_share_one_scale_that_may_be_given():
    table = {"title": "", "values": [[0.5]]}
    data = {"rows": ["a"], "columns": ["b"]}
    both = [table, {"title": "", "values": [[1.0]]}]
    first, second = maps(draw(Figure("matrix", "", "", {**data, "panels": both})))
    assert not np.array_equal(pixels(first), pixels(second))
    alone = draw(Figure("matrix", "", "", {**data, "panels": [table]}))
    assert np.array_equal(pixels(maps(alone)[0]), pixels(second))
    given_end = draw(Figure("matrix", "", "", {**data, "panels": [table], "limit": 1}))
    assert np.array_equal(pixels(maps(given_end)[0]), pixels(first))


def test_marks_show_on_light_and_on_dark_cells():
    svg = draw(matrix([[0.0, 1.0]], marked=[[0, 0], [0, 1]]))
    outlines = [e.get("stroke") for e in elements(svg, "path") if len(points(e)) == 4]
    light, dark = (int(color[1:3], 16) for color in outlines)
    assert light < 60
    assert dark > 200


def lengths(svg: str) -> list[float]:
    """Lengths of the bars, by the color that most are drawn in, in reading order."""
    drawn = max(colored(svg).values(), key=len)
    found = sorted((points(e) for e in drawn), key=lambda ends: ends[0, 1])
    return [float(ends[1, 0] - ends[0, 0]) for ends in found]


@pytest.mark.parametrize("log", [False, True])
def test_bars_are_as_long_as_their_values(log):
    found = lengths(draw(bars(series("x", [1, 8, 2, 4]), log=log)))
    assert np.argsort(found).tolist() == [0, 2, 3, 1]
    if not log:
        assert found[1] == pytest.approx(2 * found[3], abs=0.3)
        assert lengths(draw(bars(series("x", [1, 2, -2]))))[2] < 0


def test_zero_and_missing_bars_are_told_apart():
    svg = draw(bars(series("x", [0, None, 3])))
    assert [e.text for e in elements(svg, "text", font_weight="700")] == ["0", "–"]
    behind, some = series("all", [5, 0, None]), series("some", [0, 0, None])
    told = elements(draw(bars(behind, some, overlaid=True)), "text", font_weight="700")
    assert [e.text for e in told] == ["0", "0", "–"]


def test_powers_of_ten_have_few_labels_and_a_zero():
    said = words(draw(bars(series("n", [1e25, 7, 0, 0.02]), log=True)))
    assert {"0", "10²⁵"} <= set(said)
    assert sum(word.startswith("10") for word in said) <= 7


def test_marked_rows_are_named_with_their_values():
    svg = draw(figure_examples.paths_by_token())
    assert {".  T_inst", "·of  sentence end", "all paths", "estimated from a sample"} <= {
        *words(svg)
    }
    assert re.search(r"T_inst is '\.': all paths \d+, high-ranking paths [\d.]+", label(svg))


def test_a_line_goes_through_its_values_and_breaks_where_there_is_none():
    rows = series("a", [1, 2, None, 4, 5], lows=[0, 1, None, 3, None], highs=[2, 3, None, 5, 6])
    svg = draw(lines(rows))
    (line,) = [e for e in elements(svg, "path") if e.get("d").count("M") == 2 and e.get("stroke")]
    found = points(line)
    assert len(found) == 4
    assert (np.diff(found[:, 0]) > 0).all()
    assert (np.diff(found[:, 1]) < 0).all()
    band, whisker = (elements(svg, "path", **each) for each in ({"opacity": "0.14"}, {}))
    assert len(points(band[0])) == 4
    assert any(len(points(e)) == 2 and e.get("stroke", "#")[0] == "#" for e in whisker)
    assert "a: largest 5 at layer 4" in label(svg)


@pytest.mark.parametrize("drawn", [bars, lines])
def test_a_threshold_is_drawn_and_explained(drawn):
    rows = series("a", [0, 1])
    without, svg = (draw(drawn(rows, limits=[0, 1], **data)) for data in ({}, {"threshold": 0.6}))
    assert len(elements(svg, "path")) == len(elements(without, "path")) + 2
    assert {*words(svg)} - {*words(without)} == {"threshold 0.6"}


def test_limits_are_reached_and_exceeded_where_values_do():
    assert {"0", "1"} <= set(words(draw(lines(series("a", [0.5]), limits=[0, 1]))))
    assert {"−2", "6"} <= set(shown(lines(series("a", [-3, 7]), limits=[0, 1])))


@pytest.mark.parametrize("layers", [1, 6, 30])
@pytest.mark.parametrize("tokens", [8, 44])
def test_paths_through_the_same_levels_stay_apart(layers, tokens):
    way = [1] * (layers // 2 + 1) + [tokens - 1] * (layers - layers // 2)
    names = [f"t{k}" for k in range(tokens)]
    svg = draw(lines(*(series(f"path {k}", way) for k in range(10)), levels=names))
    drawn = [points(e) for e in elements(svg, "path") if len(points(e)) == layers + 1]
    drawn = [path for path in drawn if path[0, 1] != path[-1, 1]]
    assert len(drawn) == 10
    for axis in (0, 1):
        beside = np.sort([path[0, axis] for path in drawn])
        assert np.diff(beside).min() >= (0.35, 0.8)[axis]
    assert {*names, "0", str(layers)} <= {*words(svg)}
    assert f"path 0: through 't1', 't{tokens - 1}'" in label(svg)


def test_x_grows_to_the_right_and_y_upward_and_hollow_points_are_hollow():
    svg = draw(cloud(([[0, 0], [10, 0], [0, 10]], [[5, 5]])))
    filled, hollow = colored(svg)[next(iter(colored(svg)))][1:]
    origin, right, up = points(filled)
    assert right[0] > origin[0] + 100
    assert up[1] < origin[1] - 100
    assert filled.get("stroke") is None
    assert hollow.get("fill") == "none"
    assert {"filled: fitted", "hollow: held out"} <= set(words(svg))
    assert "hollow: held out" not in words(draw(cloud(([[0, 0]], []))))


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(0.2, 0.3, "beyond"), (0.0, 0.05, "short"), (0.05, 0.3, "open")]
)
def test_an_interval_says_its_outcome_in_words_and_numbers(low, high, outcome):
    estimate = row(outcome, (low + high) / 2, low, high, 0.1)
    numbers = f"{format_number((low + high) / 2)} [{format_number(low)}, {format_number(high)}]"
    said = words(draw(intervals(estimate)))
    assert f"{outcome} {numbers} against 0.1" in said
    assert {"e0", "short of threshold", "beyond"} <= set(said)
    assert f"1 {outcome}; e0 {numbers.split()[0]}" in label(draw(intervals(estimate)))
    same_unit = words(draw(intervals(estimate, one_scale=True, unit="share")))
    assert {"e0", "share", f"{outcome} {numbers} against 0.1"} <= set(same_unit)
    assert "short of threshold" not in same_unit


def ends(*estimate, **data):
    """Where the interval of an estimate begins and ends across the figure."""
    (line,) = elements(draw(intervals(row(*estimate, **data))), "path", stroke_width="2")
    return sorted(points(line)[:, 0])


def test_what_is_beyond_is_on_its_side_of_the_threshold_whatever_side_is_asked_for():
    (middle, _) = ends("open", 0.1, 0.1, 0.1, 0.1)
    above = ends("beyond", 0.3, 0.2, 0.5, 0.1)
    assert ends("beyond", -0.3, -0.5, -0.2, -0.1, side="below") == above
    assert middle < above[0]
    assert middle < ends("beyond", 0.1, -0.2, 0.2, 0.4, side="within")[0]
    assert ends("short", 0.2, 0.15, 0.3, 0.1, side="below")[1] < middle
    for sign in (1, -1):
        low, high = sorted((sign * 0.6, sign * 0.8))
        assert ends("short", sign * 0.7, low, high, 0.4, side="within")[1] < middle
    low, high = ends("open", 0.3, 0.1, 0.5, 0.4, side="within")
    assert low < middle < high


@pytest.mark.parametrize(("side", "text"), [("below", "< 0.1"), ("within", "±0.1")])
def test_a_threshold_says_which_side_is_asked_for(side, text):
    estimate = row("open", 0.05, 0.0, 0.2, 0.1, side=side)
    for one_scale in (False, True):
        said = words(draw(intervals(estimate, one_scale=one_scale)))
        assert f"open 0.05 [0, 0.2] against {text}" in said


def test_what_is_within_has_a_threshold_at_both_ends():
    def thresholds(side):
        svg = draw(intervals(row("open", 0.05, 0.0, 0.2, 0.1, side=side), one_scale=True))
        return len([e for e in elements(svg, "path") if e.get("stroke-dasharray")])

    assert thresholds("within") == thresholds("above") + 1 == thresholds("below") + 1


def test_verdicts_differ_in_shape_or_filling_too():
    shapes = set()
    for verdict in GLYPHS:
        svg = draw(intervals(row(verdict, 0.5), one_scale=True))
        (mark,) = [e for e in elements(svg, "path") if "z" in e.get("d")]
        corners = points(mark)
        around = (corners - corners.mean(axis=0)).round(1) + 0.0
        shapes.add((mark.get("d").count("a"), str(around), mark.get("fill") == "none"))
    assert len(shapes) == len(GLYPHS)


def test_only_neighbours_of_one_group_with_estimates_are_joined():
    rows = [row(estimate=1), row(estimate=2), row(estimate=3, group=1), row(group=1)]
    svg = draw(intervals(*rows, row(estimate=1, group=1), one_scale=True))
    (joints,) = elements(svg, "path", opacity="0.35")
    assert joints.get("d").count("M") == 1


def test_an_interval_goes_to_the_edge_where_it_has_no_bound():
    svg = draw(intervals(row("open", 1, 0, 2), row("open", 1, 0, None), one_scale=True))
    closed, opened = [points(e) for e in elements(svg, "path", stroke_width="2")]
    assert opened[1, 0] > closed[1, 0]
    assert opened[0, 0] == closed[0, 0]


def test_long_names_keep_their_ends_and_texts_are_written_as_they_are():
    name = "organization/model-of-some-size-at-step1000"
    said = words(draw(bars(series("x", [1] * 5), categories=["$x^2$", "漢字", "🙂", "a\nb", name])))
    assert {"$x^2$", "漢字", "🙂", "a⏎b"} <= set(said)
    assert any(re.fullmatch("organizat….*step1000", word) for word in said)


@given(NUMBERS, NUMBERS)
def test_ticks_are_few_and_between_the_ends(one, other):
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert len(found) <= 8
    room = 1e-9 * max(abs(low), abs(high))
    assert all(low - room <= t <= high + room for t in found)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-7, 8, [-5, 0, 5]),
        (3, 3, [3]),
        (0, 30, range(0, 31, 5)),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(list(expected))


TABLE = {"rows": ["a"], "columns": ["b"]}
BARS = {"categories": ["a"], "series": [series("s", [1])]}
LINES = {"x": [0], "series": [series("s", [1])]}


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("matrix", {**TABLE, "panels": [{"title": "", "values": [[1, 2]]}]}, "1 rows of 1 columns"),
        ("matrix", {**TABLE, "panels": [{"title": "", "values": [["x"]]}]}, r"\[0\]\[0\]='x'"),
        ("matrix", {**TABLE, "panels": [{"title": "", "values": [[2]]}], "limit": 1}, "in .-1, 1"),
        (
            "matrix",
            {**TABLE, "panels": [{"title": "", "values": [[2]], "marked": [[0, 1]]}]},
            r"marked=\[0, 1\], but should be in 1 x 1",
        ),
        ("bars", {**BARS, "categories": []}, r"series\[0\].len\(values\)=1.* 0, one a category"),
        ("bars", {**BARS, "series": [series("s", [1], lows=[2], highs=[1])]}, r"lows\[0\]=2"),
        ("bars", {**BARS, "series": [series("s", [1], lows=[0, 0])]}, r"len\(lows\)=2"),
        ("bars", {**BARS, "series": [series("s", [-1])], "log": True}, r"of s=-1.* in \[0, inf\]"),
        ("bars", {**BARS, "limits": [-1, 1], "log": True}, "threshold and limits=-1"),
        ("bars", {**BARS, "marks": {1: "T_inst"}}, "marks=1"),
        ("lines", {**LINES, "x": [1, 0]}, r"x=\[1.0, 0.0\], but should be strictly increasing"),
        ("lines", {**LINES, "x": [0, 0]}, "strictly increasing"),
        ("lines", {**LINES, "x": [0, 1]}, "one a x"),
        ("lines", {**LINES, "limits": [0]}, r"limits\[1\]=None, but should be given"),
        ("lines", {**LINES, "levels": ["a"]}, r"values of s=1.0, but should be in \[0, 0\]"),
        ("lines", {**LINES, "series": LINES["series"] * 11}, r"at most 10 .*; split it into"),
        ("points", {"classes": [{"name": "a", "points": [[1, None]]}]}, r"points\[0\]\[1\]=None"),
        ("points", {"classes": [{"name": "a", "points": [[1]]}]}, r"points\[0\]\[1\]=None"),
        ("points", {"classes": [{"name": "a", "points": []}] * 13}, r"len\(classes\)=13"),
        ("intervals", {"estimates": [{}]}, r"data.estimates\[0\].name=None"),
        ("intervals", {"estimates": [{"name": "", **row("open", 1, 2, 1)}]}, r"lows\[0\]=2"),
        ("intervals", {"estimates": [], "more": 1}, "data.more=1, but should be no field"),
    ],
)
def test_data_that_cannot_be_drawn_are_refused_in_one_line(kind, data, message):
    with pytest.raises(EvidenceError, match=message) as caught:
        Figure(kind, "", "", data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said", "short"),
    [
        (None, "–", "–"),
        (0.0, "0", "0"),
        (-0.00427, "−0.00427", "0.00"),
        (0.12345, "0.123", "0.12"),
        (-5.4321, "−5.43", "−5.43"),
        (123.4, "123", "123"),
        (4096.0, "4096", "4096"),
        (1234567.0, "1.23e+06", "1.23e+06"),
        (1e-7, "1e−07", "0.00"),
    ],
)
def test_numbers_are_written_for_readers(value, said, short):
    assert (format_number(value), two_digits(value)) == (said, short)
