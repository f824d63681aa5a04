import string
import threading
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivevidence import Criterion, EvidenceError, Figure, draw
from ivevidence.figures import OUTCOME_COLORS, format_number, two_digits
from tests.evidence_examples import example_cell

HOSTILE = ("<script>alert(1)</script>", "$x^2$", "$\\frac", '"><svg onload=x>', "]]>", "&amp;")
HOSTILE += ("\x00\n\x1b", "\ud800", "\u202e", "漢字🙂", "", " ", "]]>" * 9)


def heatmap(values, **data) -> Figure:
    layers = list(range(len(values)))
    return Figure(
        "heatmap", "Effect", "", {"layers": layers, "values": values, "unit": "rr", **data}
    )


def positions(tokens, unit="rr", t_inst=0) -> Figure:
    values = [0.1 * k for k in range(len(tokens))]
    return Figure(
        "positions",
        "Positions",
        "",
        {"tokens": tokens, "values": values, "lows": values, "highs": values}
        | {"t_inst": t_inst, "unit": unit},
    )


def intervals(*criteria: Criterion) -> Figure:
    return Figure("intervals", "Criteria", "", {"criteria": criteria})


def upper(count: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(count, count))
    return np.where(np.triu(np.ones((count, count))) > 0, values, np.nan)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return [e for e in parsed(svg).iter() if e.tag.endswith("}" + tag)]


def words(svg: str) -> list[str]:
    return [element.text or "" for element in elements(svg, "text")]


@pytest.mark.parametrize(
    ("layers", "limit"), [(6, 15_000), (12, 15_000), (32, 40_000), (80, 60_000)]
)
def test_heat_maps_stay_small(layers, limit):
    assert len(draw(heatmap(upper(layers), highlight=[[0, 1]]))) < limit


@pytest.mark.parametrize("kind", range(3))
def test_the_same_data_give_the_same_bytes(kind):
    figure = [*example_cell().figures[1:], intervals(*example_cell().decision.criteria)][kind]
    first = draw(figure)
    with mpl.rc_context({"svg.hashsalt": None, "svg.fonttype": "path", "font.size": 30}):
        assert draw(Figure.from_json(figure.to_json())) == first
    assert "Matplotlib" not in first
    assert " id=" not in first


def test_only_the_upper_triangle_and_the_diagonal_are_drawn():
    values = np.arange(9.0).reshape(3, 3)
    said = words(draw(heatmap(values)))
    assert {"1.00", "2.00", "4.00", "5.00", "8.00"} <= set(said)
    assert not {"3.00", "6.00", "7.00"} & set(said)


def test_rows_are_the_first_layer_and_columns_the_second():
    values = np.full((3, 3), np.nan)
    values[0, 2] = 5.0
    svg = draw(heatmap(values))
    place = next(e for e in elements(svg, "text") if e.text == "5.00")
    ticks = {
        e.text: float(e.get("x"))
        for e in elements(svg, "text")
        if e.get("text-anchor") == "middle" and float(e.get("y")) > 230
    }
    assert float(place.get("x")) == pytest.approx(ticks["2"], abs=1)
    assert ticks["0"] < ticks["1"] < ticks["2"]
    assert float(place.get("y")) < 120
    assert "Largest value 5 at layers 0 and 2" in svg


def test_zero_is_white_and_the_signs_have_different_colors():
    fills = [
        {e.get("fill") for e in elements(draw(heatmap([[value]], limit=1.0)), "path")}
        for value in (0.0, 1.0, -1.0)
    ]
    colorbar = fills[0] & fills[1] & fills[2]
    assert "#ffffff" in colorbar
    for value, color in ((0.0, "#ffffff"), (1.0, "#0b3c78"), (-1.0, "#7f3b08")):
        cell = elements(draw(heatmap([[value]], limit=1.0)), "path")[0]
        assert cell.get("fill") == color


def test_highlighted_pairs_are_outlined():
    plain = elements(draw(heatmap(upper(6))), "path")
    outlined = elements(draw(heatmap(upper(6), highlight=[[1, 3]])), "path")
    assert len(outlined) == len(plain) + 2


@pytest.mark.parametrize(
    "values", [[], [[None]], [[0.0]], [[1e300]], [[1e-300]], [[None, 1], [None, None]]]
)
def test_extreme_heat_maps_are_drawn(values):
    parsed(draw(heatmap(values)))


def test_layers_may_be_a_selection():
    figure = Figure(
        "heatmap", "", "",
        {"layers": [4, 9], "values": [[1, 2], [None, 3]], "unit": "", "highlight": [[4, 9]]},
    )  # fmt: skip
    assert {"4", "9"} <= set(words(draw(figure)))


def test_t_inst_is_named_and_has_its_own_color():
    svg = draw(positions(["Give", " form", "."], t_inst=2))
    assert ".  T_inst" in words(svg)
    assert sum(e.get("fill") == "#d1551c" for e in elements(svg, "path")) == 1
    assert "·form" in words(svg)


@pytest.mark.parametrize(
    ("low", "high", "outcome"), [(0.2, 0.3, "beyond"), (0.0, 0.05, "short"), (0.05, 0.3, "open")]
)
def test_an_interval_says_its_outcome_in_color_words_and_numbers(low, high, outcome):
    svg = draw(intervals(Criterion("share", "", (low + high) / 2, low, high, 0.1, 50)))
    assert f'stroke="{OUTCOME_COLORS[outcome]}"' in svg
    assert f"share: {format_number((low + high) / 2)}, {outcome}" in svg
    assert any(f"[{format_number(low)}, {format_number(high)}]" in text for text in words(svg))


@pytest.mark.parametrize("bounds", [(None, None), (0.2, None), (None, 0.05), (0.1, 0.1)])
def test_unbounded_intervals_are_drawn(bounds):
    svg = draw(intervals(Criterion("share", "", None, *bounds, 0.1, 50)))
    assert "NaN" not in svg
    assert "nan" not in svg


def test_a_criterion_with_a_tiny_interval_at_its_threshold_is_drawn():
    parsed(draw(intervals(Criterion("c", "", 0.1, 0.1, 0.1, 0.1, 0))))
    parsed(draw(intervals()))


@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), min_size=1, max_size=5), st.text())
@settings(deadline=None, max_examples=15)
def test_text_from_data_stays_text(tokens, name):
    criterion = Criterion(name, "", 0.2, 0.2, 0.3, 0.1, 50)
    figures = [
        positions(tokens, unit=name),
        replace(heatmap([[1.0]]), title=name),
        intervals(criterion, replace(criterion, name=tokens[0])),
    ]
    for figure in figures:
        svg = draw(figure)
        svg.encode()
        tags = {element.tag.split("}")[1] for element in parsed(svg).iter()}
        assert tags <= {"svg", "path", "text", "image"}
        attributes = {name for e in parsed(svg).iter() for name in e.attrib}
        assert not [name for name in attributes if name.startswith("on")]


def test_dollars_are_not_read_as_formulas():
    assert any("$x^2$" in text for text in words(draw(positions(["$x^2$", "$\\frac"]))))


def test_letters_without_a_glyph_raise_no_warning(recwarn):
    assert any("漢字" in text for text in words(draw(positions(["漢字", "🙂"]))))
    assert not recwarn.list


def test_pyplot_and_the_settings_of_the_process_are_left_alone():
    before = dict(mpl.rcParams)
    draw(positions(["a"]))
    assert dict(mpl.rcParams) == before


def test_figures_drawn_in_threads_are_the_same():
    figure, drawn = positions(list(string.ascii_letters[:8])), []
    threads = [threading.Thread(target=lambda: drawn.append(draw(figure))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(drawn) == {draw(figure)}


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("heatmap", {"layers": [0], "values": [[1, 2]], "unit": ""}, "values=.*1 rows of 1"),
        ("heatmap", {"layers": [0], "values": [["x"]], "unit": ""}, r"data.values\[0\]\[0\]='x'"),
        (
            "heatmap",
            {"layers": [0], "values": [[1]], "unit": "", "highlight": [[0, 1]]},
            "highlight",
        ),
        ("positions", {"tokens": ["a"], "values": [], "lows": [], "highs": [], "t_inst": 0}, "len"),
        (
            "positions",
            {"tokens": [], "values": [], "lows": [], "highs": [], "t_inst": 0},
            "t_inst=0",
        ),
        ("intervals", {"criteria": [{}]}, r"data.criteria\[0\].description=None"),
        ("intervals", {"criteria": [], "more": 1}, "data.more=1, but should be no field"),
    ],
)
def test_data_that_cannot_be_drawn_are_refused_when_the_figure_is_built(kind, data, message):
    with pytest.raises(EvidenceError, match=message):
        Figure(kind, "", "", data)


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
