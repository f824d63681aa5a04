"""Bars of path counts, head maps, trajectories."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivevidence import EvidenceError, Figure, draw
from ivevidence.figures.colors import ACCENT, BAR
from tests.figure_examples import head_maps, path_bars, trajectories
from tests.svg_reading import (
    assert_inside,
    elements,
    grid_heights,
    label,
    pixels,
    points,
    strokes,
    words,
)


def counts(high, totals, **data) -> Figure:
    tokens = [f"t{k}" for k in range(len(high))]
    data = {"tokens": tokens, "high_ranking": high, "totals": totals, "t_inst": None, **data}
    return Figure("path_bars", "", "", data)


def heads(values, significant=()) -> Figure:
    panel = {"title": "adj", "values": values, "significant": significant}
    return Figure("head_maps", "", "", {"panels": [panel]})


def paths(*positions, tokens="abcdef", t_inst=1) -> Figure:
    found = [{"positions": p, "value": 1.0} for p in positions]
    data = {"tokens": list(tokens), "paths": found, "t_inst": t_inst}
    return Figure("trajectories", "", "", data)


def tops(svg: str) -> list[float]:
    """Upper ends of the high-ranking bars, in the order of the tokens (T_inst aside)."""
    return [bar[1, 1] for bar in strokes(svg, BAR) if bar[0, 0] == bar[1, 0]]


def gray_tops(svg: str) -> list[float]:
    found = [e.get("d") for e in elements(svg, "path", opacity="0.16") if "z" in e.get("d")]
    return [float(d.split()[1].split("H")[0]) for d in found]


def test_path_counts_stand_on_a_logarithmic_axis():
    svg = draw(counts([10, 100, 1000], [1e4, 1e5, 1e6]))
    ten, hundred, thousand = tops(svg)
    assert ten - hundred == pytest.approx(hundred - thousand, abs=0.11)
    assert gray_tops(svg)[0] == pytest.approx(2 * thousand - hundred, abs=0.21)
    axis = grid_heights(svg)
    assert (ten, thousand) == pytest.approx((axis["10¹"], axis["10³"]), abs=0.11)


def test_no_high_ranking_path_and_none_measured_are_told_apart():
    svg = draw(counts([0, None, 3], [50, None, 50]))
    drawn = elements(svg, "text", font_weight="700")
    assert [e.text for e in drawn] == ["0", "–"]
    assert len(tops(svg)) == 1
    foot = [float(e.get("y")) for e in elements(svg, "text") if e.text == "0"]
    assert foot[0] - foot[1] == pytest.approx(6, abs=0.2)  # "0" at the axis, and in the column


def test_small_means_stand_above_zero_and_below_one():
    svg = draw(counts([0.02, 0.5, 1.0], [4, 4, 4]))
    low, half, one = tops(svg)
    axis = grid_heights(svg)
    assert axis["0"] > low > half > one == pytest.approx(axis["1"])
    assert axis["0"] > tops(draw(counts([0.01], [1])))[0] + 10  # the lowest decade is not zero


def test_huge_totals_are_drawn_with_few_grid_lines():
    svg = draw(counts([1e3, 1e3, 7, 0], [1e25, 1e12, 7, 0]))
    assert_inside(svg)
    assert "10²⁵" in words(svg)
    assert sum(word.startswith("10") for word in words(svg)) <= 7


def test_estimated_columns_are_striped_and_explained():
    counted, sampled = counts([5, 5], [9, 9]), counts([5, 5], [9, 9], estimated=[False, True])
    assert not elements(draw(counted), "path", stroke_dasharray="2.5 1.5")
    striped = elements(draw(sampled), "path", stroke_dasharray="2.5 1.5")
    assert len(striped) == 2  # the column and the sample in the legend
    assert "estimated from a sample" in words(draw(sampled))
    assert "Estimated from a sample: 1 of 2 tokens." in label(draw(sampled))


def test_t_inst_and_an_earlier_sentence_end_are_marked_in_words_and_color():
    svg = draw(path_bars(sentence_end=4))
    assert {".  T_inst", "·of  sentence end"} <= set(words(svg))
    assert len(strokes(svg, ACCENT)) == 1
    assert "T_inst is '.' with" in label(svg)


def test_a_long_first_token_is_not_cut_off():
    svg = draw(counts([1, 2], [3, 4], tokens=["a" * 40, "b"], t_inst=0))
    (name,) = [e for e in elements(svg, "text") if "T_inst" in e.text]
    assert float(name.get("x")) > 0.57 * 4.8 * len(name.text)


def test_whiskers_may_be_left_out_or_missing():
    whisker = {"stroke_width": "1.2", "stroke": "currentColor"}
    some = {"lows": [1, None, 0], "highs": [4, None, 2]}
    drawn = elements(draw(counts([2, 2, 0], [9, 9, 9], **some)), "path", **whisker)
    assert len(drawn) == 2
    assert not elements(draw(counts([2, 2, 0], [9, 9, 9])), "path", **whisker)


@given(
    st.lists(st.tuples(st.floats(0, 1e300), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(1, 1e3),
)
@settings(deadline=None, max_examples=40)
def test_any_counts_are_drawn_inside(drawn, reach):
    totals = [total for total, _ in drawn]
    high = [total * share for total, share in drawn]
    svg = draw(counts(high, totals, lows=[0] * len(high), highs=[h * reach for h in high]))
    assert_inside(svg)


def test_heads_are_columns_and_layers_rows_from_the_top():
    values = np.zeros((3, 2))
    values[0, 1], values[2, 0] = 1.0, np.nan
    (image,) = elements(draw(heads(values.tolist())), "image")
    drawn = pixels(image)
    assert drawn.shape == (3, 2, 4)
    assert drawn[0, 1].tolist() == [0x0B, 0x3C, 0x78, 255]
    assert drawn[0, 0].tolist() == [255, 255, 255, 255]
    assert drawn[2, 0, 3] < 255
    svg = draw(heads(values.tolist()))
    assert "adj: largest 1 at layer 0, head 1, 0 marked" in label(svg)
    ones = [e for e in elements(svg, "text") if e.text == "1.00"]
    assert len(ones) == 1
    assert "no value" in words(svg)


def marks(svg: str) -> list[tuple[str, int]]:
    found = [e for e in elements(svg, "path") if e.get("d").count("a") >= 2]
    return [(e.get("fill"), e.get("d").count("z")) for e in found]


@pytest.mark.parametrize("grid", [(6, 4), (32, 32)])
def test_significant_heads_are_marked_in_a_color_that_shows(grid):
    values, significant = np.zeros(grid), np.zeros(grid, dtype=bool)
    values[1] = 0.9
    significant[1, 2:4] = significant[2, 0] = True
    svg = draw(heads(values.tolist(), significant))
    assert "significant" in words(svg)
    assert sorted(marks(svg), key=str) == [("#1a1f26", 1), ("#ffffff", 2), (None, 1)]
    assert not marks(draw(heads(values.tolist())))
    assert "3 marked" in label(svg)


def test_small_grids_have_numbers_and_large_ones_stay_small():
    assert "0.25" in words(draw(heads([[0.25]])))
    titles = ("a", "b", "c", "d")
    assert len(draw(head_maps(32, 32, titles))) < 60_000
    assert [w for w in words(draw(head_maps(30, 9, titles))) if w in titles] == list(titles)


def test_panels_go_on_in_a_second_row():
    svg = draw(head_maps(6, 4, tuple(f"panel {k}" for k in range(12))))
    places = [(float(e.get("x")), float(e.get("y"))) for e in elements(svg, "image")]
    assert len(set(places)) == 12
    assert len({y for _, y in places}) == 2


def test_head_maps_without_panels_or_heads_are_drawn():
    assert_inside(draw(Figure("head_maps", "", "", {"panels": []})))
    for figure in (heads([]), heads([[], []])):
        assert_inside(draw(figure))
        assert not elements(draw(figure), "image")


def drawn_paths(svg: str) -> list[np.ndarray]:
    found = [points(e) for e in elements(svg, "path") if e.get("stroke", "#")[0] == "#"]
    return [p for p in found if len(p) > 2]


def test_a_trajectory_goes_up_through_its_tokens():
    svg = draw(paths([1, 1, 3, 5]))
    (path,) = drawn_paths(svg)
    names = {e.text: float(e.get("x")) for e in elements(svg, "text", text_anchor="end")}
    where = [names["b  T_inst"], names["b  T_inst"], names["d"], names["f  T_last"]]
    assert path[:, 0] == pytest.approx(where, abs=0.1)
    assert (np.diff(path[:, 1]) < 0).all()
    heights = {e.text: float(e.get("y")) for e in elements(svg, "text", text_anchor="end")}
    assert path[:, 1] == pytest.approx([heights[n] for n in ("embedding", "0", "1", "2")], abs=0.1)


@pytest.mark.parametrize("layers", [1, 6, 30])
@pytest.mark.parametrize("tokens", [8, 44])
def test_paths_that_coincide_stay_visible(layers, tokens):
    """Ten paths through the same tokens: each line keeps its distance from all others."""
    way = [1] * (layers // 2 + 1) + [tokens - 1] * (layers - layers // 2)
    names = [f"t{k}" for k in range(tokens)]
    svg = draw(paths(*[way] * 10, tokens=names))
    drawn = [points(e) for e in elements(svg, "path") if len(points(e)) == layers + 1]
    drawn = [p for p in drawn if p[0, 1] != p[1, 1]]  # grid lines are level
    assert len(drawn) == 10
    across = np.sort([p[0, 0] for p in drawn])
    assert np.diff(across).min() >= 0.8
    assert across[-1] - across[0] < 24
    assert all((np.diff(p[:, 1]) < 0).all() for p in drawn)


def test_paths_are_told_apart_without_color_and_listed_in_order():
    svg = draw(trajectories())
    found = [e for e in elements(svg, "path") if len(points(e)) == 7]
    assert len({e.get("stroke-dasharray") for e in found}) == len(found) == 10
    assert [w for w in words(svg) if ": logit" in w][:2] == [
        "1: logit 14.2, rank 1",
        "2: logit 13.3, rank 2",
    ]
    assert "10 paths. 1: logit 14.2, rank 1, through '.'" in label(svg)


def test_no_path_and_a_prompt_of_one_token_are_drawn():
    assert_inside(draw(paths()))
    assert_inside(draw(paths([0, 0], tokens="a", t_inst=0)))
    assert "a  T_inst, T_last" in words(draw(paths([0, 0], tokens="a", t_inst=0)))


BARS = {"tokens": ["a", "b"], "high_ranking": [1, 2], "totals": [3, 4], "t_inst": 0}
WAY = {"tokens": ["a", "b", "c"], "t_inst": 0}


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("path_bars", {**BARS, "totals": [1]}, r"data.len\(totals\)=1, but should be 2, one a tok"),
        ("path_bars", {**BARS, "lows": [1]}, r"len\(lows\)=1"),
        ("path_bars", {**BARS, "estimated": [True]}, r"len\(estimated\)=1"),
        ("path_bars", {**BARS, "high_ranking": [1, 5]}, r"high_ranking\[1\]=5.0.*totals\[1\]=4"),
        ("path_bars", {**BARS, "high_ranking": [-1, 2]}, r"high_ranking\[0\]=-1.*in \[0, inf\]"),
        ("path_bars", {**BARS, "lows": [2, 2], "highs": [1, 3]}, r"lows\[0\]=2.*highs\[0\]=1"),
        ("path_bars", {**BARS, "t_inst": 2}, "t_inst=2, but should be a position among 2 tokens"),
        ("path_bars", {**BARS, "sentence_end": -1}, "sentence_end=-1"),
        ("head_maps", {"panels": [{"title": "", "values": [[1], [1, 2]]}]}, "2 layers of 1 heads"),
        ("head_maps", {"panels": [{"title": "", "values": [[1.5]]}]}, r"values\[0\]\[0\]=1.5"),
        (
            "head_maps",
            {"panels": [{"title": "", "values": [[1]], "significant": [[True, True]]}]},
            r"significant=\[2\], but should be 1 layers of 1 heads",
        ),
        (
            "head_maps",
            {"panels": [{"title": "", "values": [[1]]}, {"title": "", "values": [[1, 1]]}]},
            r"panels\[1\]=\[1, 2\].*as in panels\[0\]",
        ),
        ("trajectories", {**WAY, "paths": [{"positions": [1, 0], "value": 1}]}, "never going back"),
        ("trajectories", {**WAY, "paths": [{"positions": [], "value": 1}]}, "at least one"),
        ("trajectories", {**WAY, "paths": [{"positions": [0, 1], "value": 1}]}, "last token, 2"),
        ("trajectories", {**WAY, "paths": [{"positions": [-1, 2], "value": 1}]}, "from 0 at least"),
        (
            "trajectories",
            {**WAY, "paths": [{"positions": [0, 2], "value": 1}, {"positions": [2], "value": 1}]},
            r"len\(paths\[1\].positions\)=1, but should be 2",
        ),
        (
            "trajectories",
            {**WAY, "paths": [{"positions": [2], "value": 1}] * 11},
            r"len\(paths\)=11, but should be at most 10 .*; split it into several figures",
        ),
    ],
)
def test_data_that_cannot_be_drawn_are_refused_in_one_line(kind, data, message):
    with pytest.raises(EvidenceError, match=message) as caught:
        Figure(kind, "", "", data)
    assert "\n" not in str(caught.value)
