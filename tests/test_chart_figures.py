"""Lines over layers, scattered points, grouped bars."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivevidence import EvidenceError, Figure, draw
from ivevidence.figures.axes import Scale, ticks
from ivevidence.figures.colors import DASHES, SERIES, marker
from tests.figure_examples import STAGES, TASKS, grouped_bars, lines, scatter
from tests.svg_reading import assert_inside, elements, grid_heights, label, points, strokes, words

NUMBERS = st.floats(-1e300, 1e300)


def series(name, values, **bounds) -> dict:
    return {"name": name, "values": values, **bounds}


def chart(x, *rows, **data) -> Figure:
    return Figure("lines", "", "", {"x": list(x), "series": rows, **data})


def bars(*rows, categories=("a", "b"), **data) -> Figure:
    return Figure("grouped_bars", "", "", {"categories": categories, "series": rows, **data})


def cloud(*classes) -> Figure:
    found = [{"name": str(k), "points": p, "held_out": h} for k, (p, h) in enumerate(classes)]
    return Figure("scatter", "", "", {"classes": found})


def test_a_line_goes_through_its_values():
    svg = draw(chart([0, 1, 2, 3], series("probe", [0, 1, 0.5, 0.25]), limits=[0, 1]))
    (line,) = [line for line in strokes(svg, SERIES[0], 1.5) if len(line) > 2]
    heights = grid_heights(svg)
    assert line[1, 1] == pytest.approx(heights["1"], abs=0.2)
    middle = (heights["0.2"] + heights["1"]) / 2
    assert line[2, 1] == pytest.approx(middle + (heights["0.2"] - heights["1"]) / 8, abs=0.2)
    bottoms = {e.text: float(e.get("x")) for e in elements(svg, "text", y="194")}
    assert line[:, 0] == pytest.approx([bottoms[k] for k in "0123"], abs=0.1)


def test_a_missing_value_breaks_the_line_and_its_band():
    rows = series("a", [1, 2, None, 4, 5], lows=[0, 1, None, 3, None], highs=[2, 3, None, 5, 6])
    svg = draw(chart(range(5), rows))
    (line,) = [e for e in elements(svg, "path", stroke=SERIES[0]) if e.get("d").count("M") == 2]
    assert len(points(line)) == 4
    (band,) = elements(svg, "path", fill=SERIES[0], opacity="0.14")
    assert len(points(band)) == 4
    assert len(strokes(svg, SERIES[0], 1.2)) == 1  # alone between gaps: a whisker


def test_the_band_spans_the_interval():
    svg = draw(chart([0, 1], series("a", [1, 1], lows=[0, 0], highs=[2, 2]), limits=[0, 2]))
    (band,) = elements(svg, "path", fill=SERIES[0], opacity="0.14")
    heights = sorted({y for _, y in points(band)})
    assert heights == pytest.approx([grid_heights(svg)[n] for n in ("2", "0")], abs=0.2)


def test_series_are_told_apart_without_color():
    svg = draw(chart([0, 1], *(series(f"s{k}", [k, k]) for k in range(8))))
    drawn = [elements(svg, "path", stroke=color) for color in SERIES[:8]]
    dashes = [{e.get("stroke-dasharray") for e in line_and_sample} for line_and_sample in drawn]
    assert all(len(dash) == 1 for dash in dashes)
    assert len(set.union(*dashes)) == 8
    assert len(set(DASHES)) == len(DASHES)
    shapes = {re.sub(r"[-\d.]+", "", marker(k, 50, 50, 3)) for k in range(12)}
    corners = {marker(k, 50, 50, 3) for k in range(12)}
    assert len(corners) == 12
    assert len(shapes) > 4


def test_series_colors_show_on_both_pages():
    for color in SERIES:
        parts = np.array([int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        luminance = linear @ (0.2126, 0.7152, 0.0722)
        assert 1.05 / (luminance + 0.05) >= 3  # on white
        assert (luminance + 0.05) / (0.0134 + 0.05) >= 3  # on the dark card, #191f26
    assert len(set(SERIES)) == 12


def test_the_threshold_stands_at_its_value_and_is_named():
    for figure in (
        chart([0, 1], series("a", [0, 1]), threshold=0.6, limits=[0, 1]),
        bars(series("a", [0, 1]), threshold=0.6, limits=[0, 1]),
    ):
        svg = draw(figure)
        line, sample = [points(e) for e in elements(svg, "path", stroke_dasharray="5 3")][::-1]
        assert line[0, 1] == line[1, 1] == pytest.approx(grid_heights(svg)["0.6"], abs=0.2)
        assert sample[0, 0] > line[1, 0]
        assert "threshold 0.6" in words(svg)


def test_limits_are_reached_and_exceeded_where_values_do():
    assert {"0", "1"} <= set(words(draw(chart([0], series("a", [0.5]), limits=[0, 1]))))
    assert_inside(draw(chart([0, 1], series("a", [-3, 7]), limits=[0, 1])))


def test_what_lines_show_is_said():
    assert "probe: largest 0.989 at layer 5" in label(draw(lines()))
    assert "a: largest – at layer –" in label(draw(chart([0], series("a", [None]))))


def test_fitted_points_are_filled_and_held_out_ones_hollow():
    svg = draw(cloud(([[0, 0], [1, 1], [2, 2]], [[0, 1], [1, 0]]), ([[0, 2]], [])))
    filled = elements(svg, "path", fill=SERIES[0], opacity="0.7")
    hollow = elements(svg, "path", fill="none", stroke=SERIES[0])
    assert [e.get("d").count("z") for e in filled] == [3]
    assert [e.get("d").count("z") for e in hollow] == [2]
    assert {"filled: fitted", "hollow: held out"} <= set(words(svg))
    assert "0: 3 and 2; 1: 1 and 0" in label(svg)
    assert "hollow: held out" not in words(draw(cloud(([[0, 0]], []))))


def test_x_grows_to_the_right_and_y_upward():
    svg = draw(cloud(([[0, 0], [10, 0], [0, 10]], [])))
    (drawn,) = elements(svg, "path", fill=SERIES[0], opacity="0.7")
    origin, right, up = points(drawn)
    assert right[0] > origin[0] + 100
    assert right[1] == origin[1]
    assert up[1] < origin[1] - 100
    assert up[0] == origin[0]


def test_scatters_stay_small():
    assert len(draw(scatter(134, tuple(f"class {k}" for k in range(12))))) < 150_000
    assert len(draw(scatter(400, TASKS))) < 100_000


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20))
@settings(deadline=None, max_examples=50)
def test_any_points_are_drawn_inside(drawn):
    assert_inside(draw(cloud((drawn[::2], drawn[1::2]))))


@given(st.lists(NUMBERS | st.none(), max_size=12), NUMBERS | st.none())
@settings(deadline=None, max_examples=50)
def test_any_values_are_drawn_inside(values, threshold):
    lows = [None if v is None else v - abs(v) / 2 for v in values]
    row = series("a", values, lows=lows, highs=values)
    names = [f"c{k}" for k in range(len(values))]
    assert_inside(draw(chart(range(len(values)), row, threshold=threshold)))
    assert_inside(draw(bars(row, row, categories=names, threshold=threshold)))


@given(NUMBERS, NUMBERS)
def test_ticks_are_few_and_between_the_ends(one, other):
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert len(found) <= 8
    room = 1e-9 * max(abs(low), abs(high))
    assert all(low - room <= t <= high + room for t in found)
    scale = Scale(low, high, 0.0, 100.0)
    assert all(-0.01 <= scale(t) <= 100.01 for t in found)


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


def test_bars_stand_side_by_side_and_reach_their_values():
    svg = draw(bars(series("x", [1, 0.5]), series("y", [0.25, -0.5]), limits=[-1, 1]))
    xs, ys = (
        [bar for bar in strokes(svg, color) if bar[0, 0] == bar[1, 0] < 130] for color in SERIES[:2]
    )
    across = [bar[0, 0] for bar in (xs[0], ys[0], xs[1], ys[1])]
    assert across == sorted(across)
    assert across[1] - across[0] < across[2] - across[1]
    zero, one = (grid_heights(svg)[name] for name in ("0", "1"))
    assert xs[0][:, 1] == pytest.approx([zero, one], abs=0.2)
    assert ys[1][:, 1] == pytest.approx([zero, zero + (zero - one) / 2], abs=0.2)


def test_zero_and_missing_bars_are_told_apart():
    svg = draw(bars(series("x", [0, None], lows=[0, None], highs=[0.3, None]), limits=[0, 1]))
    assert [e.text for e in elements(svg, "text", font_weight="700")] == ["0", "–"]
    assert len(elements(svg, "path", stroke_width="1.2", stroke="currentColor")) == 1
    said = elements(svg, "text", font_weight="700")
    assert float(said[0].get("y")) < float(said[1].get("y")) - 20  # above the whisker


def test_bars_of_all_series_are_filled_differently():
    svg = draw(bars(*(series(f"s{k}", [1]) for k in range(8)), categories=["a"]))
    styles = set()
    for color in SERIES[:8]:
        drawn = elements(svg, "path", stroke=color)
        styles.add(
            tuple((e.get("stroke-dasharray"), e.get("opacity"), "z" in e.get("d")) for e in drawn)
        )
    assert len(styles) == 8


def test_long_category_names_are_slanted():
    names = ("a task with a long name", "b")
    assert len(elements(draw(bars(series("x", [1, 2]), categories=names)), "text")) > 4
    slanted = [
        e
        for e in elements(draw(bars(series("x", [1, 2]), categories=names)), "text")
        if "rotate(-55" in e.get("transform", "")
    ]
    assert [e.text for e in slanted] == list(names)
    assert not re.search("rotate\\(-55", draw(bars(series("x", [1, 2]))))


@pytest.mark.parametrize(
    "figure",
    [
        lines(1), lines(32), chart([], series("a", [])), chart([]), cloud(), cloud(([], [])),
        bars(categories=[]), bars(series("x", []), categories=[]), grouped_bars(("one",)),
        grouped_bars(tuple(f"t{k}" for k in range(30)), STAGES),
    ],
)  # fmt: skip
def test_few_and_many_are_drawn(figure):
    assert_inside(draw(figure))


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("lines", {"x": [1, 0], "series": []}, r"x=\[1, 0\], but should be strictly increasing"),
        ("lines", {"x": [0, 0], "series": []}, "strictly increasing"),
        ("lines", {"x": [0], "series": [series("a", [1, 2])]}, r"series\[0\].len\(values\)=2"),
        ("lines", {"x": [0], "series": [series("a", [1], lows=[0, 0])]}, r"len\(lows\)=2"),
        ("lines", {"x": [0], "series": [series("a", [1], lows=[2], highs=[1])]}, r"lows\[0\]=2"),
        ("lines", {"x": [], "series": [series("a", [])] * 9}, r"len\(series\)=9.*at most 8"),
        ("lines", {"x": [], "series": [], "limits": [0]}, "limits="),
        ("grouped_bars", {"categories": ["a"], "series": [series("a", [])]}, "one a category"),
        ("scatter", {"classes": [{"name": "a", "points": [[1, None]]}]}, r"points\[0\]\[1\]=None"),
        ("scatter", {"classes": [{"name": "a", "points": [[1]]}]}, r"points\[0\]=\[1\]"),
        ("scatter", {"classes": [{"name": "a", "points": []}] * 13}, r"len\(classes\)=13"),
    ],
)
def test_data_that_cannot_be_drawn_are_refused_in_one_line(kind, data, message):
    with pytest.raises(EvidenceError, match=message) as caught:
        Figure(kind, "", "", data)
    assert "\n" not in str(caught.value)
