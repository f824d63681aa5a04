"""What tests read from drawn figures."""

import base64
import re
import zlib
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def elements(svg: str, tag: str, **attributes: str) -> list[ElementTree.Element]:
    wanted = {name.replace("_", "-"): value for name, value in attributes.items()}.items()
    return [
        e for e in parsed(svg).iter() if e.tag.endswith("}" + tag) and wanted <= e.attrib.items()
    ]


def words(svg: str) -> list[str]:
    return [element.text or "" for element in elements(svg, "text")]


def label(svg: str) -> str:
    return parsed(svg).get("aria-label")


def points(path: ElementTree.Element) -> np.ndarray:
    """The absolute points of a path, `[point, xy]`."""
    found = re.findall(r"[ML](-?[\d.e+]+) (-?[\d.e+]+)", path.get("d"))
    return np.array(found, dtype=float).reshape(-1, 2)


def colored(svg: str) -> dict[str, list[ElementTree.Element]]:
    """What is drawn in colors that are not the page's ink, by color."""
    found: dict[str, list[ElementTree.Element]] = {}
    for path in elements(svg, "path"):
        for color in {path.get("fill"), path.get("stroke")} - {None, "none", "currentColor"}:
            found.setdefault(color, []).append(path)
    return found


def pixels(image: ElementTree.Element) -> np.ndarray:
    """RGBA of an embedded PNG that was written without filters, `[row, column, 4]`."""
    source = base64.b64decode(image.get("href").removeprefix("data:image/png;base64,"))
    width, height = (int.from_bytes(source[k : k + 4], "big") for k in (16, 20))
    start = source.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompress(source[start:]), dtype=np.uint8)
    return rows.reshape(height, 1 + 4 * width)[:, 1:].reshape(height, width, 4)


def assert_inside(svg: str) -> None:
    """Check that everything is drawn on the canvas, and at finite places."""
    root = parsed(svg)
    assert not re.search(r"\b(nan|inf)\b", " ".join(e.get("d", "") for e in root.iter()))
    _, _, width, height = map(float, root.get("viewBox").split())
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        for x, y in points(path):
            assert -1 <= x <= width + 1, path.attrib
            assert -1 <= y <= height + 1, path.attrib
    for text in elements(svg, "text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height
        left, right = reach(text)
        assert left >= 0, text.text
        assert right <= width, text.text


def reach(text: ElementTree.Element) -> tuple[float, float]:
    """Where a text begins and ends at least, in a narrow font; a turned one nowhere but at x."""
    x, long = float(text.get("x")), 0.45 * size(text) * len(text.text or "")
    long *= not text.get("transform")
    left = x - long * ("start", "middle", "end").index(text.get("text-anchor", "start")) / 2
    return left, left + long


def size(text: ElementTree.Element) -> float:
    return float(text.get("font-size", "9px").removesuffix("px"))


def assert_legible(svg: str) -> None:
    """Check that no texts above, or beside, one another run into each other."""
    columns: dict[tuple[str | None, ...], list[ElementTree.Element]] = {}
    for text in elements(svg, "text"):
        if not text.get("transform"):
            columns.setdefault((text.get("x"), text.get("text-anchor")), []).append(text)
            columns.setdefault((text.get("y"),), []).append(text)
    for place, found in columns.items():
        if len(place) == 1:
            beside = sorted(map(reach, found))
            assert all(one[1] <= other[0] + 0.1 for one, other in pairwise(beside)), place
        else:
            heights = sorted((float(text.get("y")), size(text)) for text in found)
            assert all(low[0] - up[0] >= 0.75 * low[1] for up, low in pairwise(heights)), place
