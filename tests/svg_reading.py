"""What tests read from drawn figures."""

import base64
import re
import zlib
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


def grid_heights(svg: str) -> dict[str, float]:
    """Heights of the grid lines by the label to their left."""
    found = [e for e in elements(svg, "text", x="42") if e.get("text-anchor") == "end"]
    return {e.text: float(e.get("y")) - 3 for e in found}


def points(path: ElementTree.Element) -> np.ndarray:
    """The absolute points of a path, `[point, xy]`."""
    found = re.findall(r"[ML](-?[\d.e+]+) (-?[\d.e+]+)", path.get("d"))
    return np.array(found, dtype=float).reshape(-1, 2)


def strokes(svg: str, color: str, width: float | None = None) -> list[np.ndarray]:
    """Points of the lines of a color (and width)."""
    found = elements(svg, "path", stroke=color)
    return [points(e) for e in found if width is None or float(e.get("stroke-width", 1)) == width]


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
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height
