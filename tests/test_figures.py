"""Figures of every kind: what holds for all of them, then heat maps, positions and intervals."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivevidence import Criterion, EvidenceError, Figure, draw
from ivevidence.figures.data import FIGURE_DATA
from ivevidence.figures.sweeps import OUTCOME_COLORS
from ivevidence.figures.text import format_number, two_digits
from tests.evidence_examples import example_cell
from tests.figure_examples import EXAMPLES
from tests.svg_reading import assert_inside, elements, parsed, pixels, words

HOSTILE = ("<script>alert(1)</script>", "$x^2$", '"><svg onload=x>', "]]>", "&amp;", "\x00\n\x1b")
HOSTILE += ("\ud800", "\u202e", "漢字🙂", "", " ", "]]>" * 9, "x" * 300)


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


ALL = (*example_cell().figures[1:], intervals(*example_cell().decision.criteria), *EXAMPLES)


def with_texts(value, text: str):
    """The data of a figure with all its texts replaced."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {key: with_texts(item, text) for key, item in value.items()}
    return [with_texts(item, text) for item in value] if isinstance(value, list) else value


def test_every_kind_has_an_example():
    assert {figure.kind for figure in ALL} == set(FIGURE_DATA)


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: figure.kind)
def test_the_same_data_give_the_same_bytes(figure):
    first = draw(figure)
    assert draw(Figure.from_json(figure.to_json())) == first
    assert " id=" not in first


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: figure.kind)
def test_figures_stand_in_a_page_in_any_color_scheme(figure):
    svg = draw(figure)
    assert_inside(svg)
    root = parsed(svg)
    assert root.get("fill") == "currentColor"
    assert root.get("role") == "img"
    assert figure.title in root.get("aria-label")
    # Black or white ink would vanish in one of the two schemes; white is for dark cells only.
    drawn = {e.get(name) for e in root.iter() for name in ("fill", "stroke")}
    assert not drawn & {"#000000", "#000", "black", "white"}


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: figure.kind)
@given(text=st.sampled_from(HOSTILE) | st.text(max_size=40))
@settings(deadline=None, max_examples=25)
def test_text_from_data_stays_text(figure, text):
    data = with_texts(figure.to_json()["data"], text)
    svg = draw(replace(figure, title=text, data=data))
    svg.encode()
    assert_inside(svg)
    tags = {element.tag.split("}")[1] for element in parsed(svg).iter()}
    assert tags <= {"svg", "path", "text", "image"}
    attributes = {name for e in parsed(svg).iter() for name in e.attrib}
    assert not [name for name in attributes if name.startswith("on")]
    assert {e.get("href", "data:image/png;")[:15] for e in parsed(svg).iter()} == {
        "data:image/png;"
    }


@pytest.mark.parametrize(
    ("layers", "limit"), [(6, 15_000), (12, 15_000), (32, 40_000), (80, 60_000)]
)
def test_heat_maps_stay_small(layers, limit):
    assert len(draw(heatmap(upper(layers), highlight=[[0, 1]]))) < limit


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


def test_large_heat_maps_are_images_with_the_same_colors():
    values = upper(20)
    values[0, 0], values[0, 19], values[3, 4] = 9.0, -9.0, np.nan
    (image,) = elements(draw(heatmap(values, limit=9.0)), "image")
    drawn = pixels(image)
    assert drawn.shape == (20, 20, 4)
    assert drawn[0, 0].tolist() == [0x0B, 0x3C, 0x78, 255]
    assert drawn[0, 19].tolist() == [0x7F, 0x3B, 0x08, 255]
    assert drawn[1, 0, 3] == 0
    assert 0 < drawn[3, 4, 3] < 255


def test_highlighted_pairs_are_outlined():
    plain = elements(draw(heatmap(upper(6))), "path")
    outlined = elements(draw(heatmap(upper(6), highlight=[[1, 3]])), "path")
    assert len(outlined) == len(plain) + 2


@pytest.mark.parametrize(
    "values", [[], [[None]], [[0.0]], [[1e300]], [[1e-300]], [[None, 1], [None, None]]]
)
def test_extreme_heat_maps_are_drawn(values):
    assert_inside(draw(heatmap(values)))


def test_layers_may_be_a_selection():
    figure = Figure(
        "heatmap", "", "",
        {"layers": [4, 9], "values": [[1, 2], [None, 3]], "unit": "", "highlight": [[4, 9]]},
    )  # fmt: skip
    assert_inside(draw(figure))
    assert [word for word in words(draw(figure)) if word in ("4", "9")] == ["4", "4", "9", "9"]


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
    assert_inside(svg)
    assert not re.search("nan", svg, re.IGNORECASE)


def test_a_criterion_with_a_tiny_interval_at_its_threshold_is_drawn():
    assert_inside(draw(intervals(Criterion("c", "", 0.1, 0.1, 0.1, 0.1, 0))))
    assert_inside(draw(intervals()))


def test_texts_are_written_as_they_are():
    said = words(draw(positions(["$x^2$", "漢字", "🙂", "a\nb"], t_inst=None)))
    assert {"$x^2$", "漢字", "🙂", "a⏎b"} <= set(said)


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
