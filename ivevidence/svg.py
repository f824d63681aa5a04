"""A small drawing surface on matplotlib's SVG backend, whose output fits into a page.

Positions are in points from the upper left corner. Ink is `currentColor`, so that a figure follows
the page into dark mode; no ids, so that any number of figures can stand in one page.
"""

import io
import re
import threading
import unicodedata
import warnings
from typing import Any
from xml.etree import ElementTree

import numpy as np

INK = "#000000"
FONT_SIZE = 9.0

_DRAWING = threading.Lock()

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_STYLES = {"fill", "stroke", "stroke-width", "opacity", "fill-opacity", "stroke-opacity"}
_STYLES |= {"font-size", "font-weight", "text-anchor", "stroke-dasharray", "image-rendering"}
_PLACES = {"x": 1, "y": 1, "width": 1, "height": 1, "transform": 4, "d": 2}
_DEFAULTS = {"font-size": f"{FONT_SIZE:g}px", "text-anchor": "start", "opacity": "1"}


class Canvas:
    """A drawing surface of `width` x `height` points; `svg` returns what was drawn."""

    def __init__(self, width: float, height: float) -> None:
        # Imported here: matplotlib takes a while, and most test runs draw nothing.
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        # The object-oriented interface only: pyplot would leave global state in the user's process.
        self._figure = Figure(figsize=(width / 72, height / 72))

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str | None, **style: Any
    ) -> None:
        """Draw a rectangle; `fill` None leaves it empty. `style`: edgecolor, linewidth, alpha."""
        from matplotlib.patches import Rectangle

        style = {"linewidth": 0, **style}
        corner, size = self._at(x, y + height), (width / self.width, height / self.height)
        patch = Rectangle(corner, *size, facecolor=fill or "none", **style)
        self._figure.add_artist(patch)

    def line(self, x: list[float], y: list[float], color: str = INK, **style: Any) -> None:
        """Draw a line through the given points. `style`: linewidth, linestyle, alpha."""
        from matplotlib.lines import Line2D

        points = [self._at(*point) for point in zip(x, y, strict=True)]
        self._figure.add_artist(Line2D(*zip(*points, strict=True), color=color, **style))

    def dot(self, x: float, y: float, radius: float, fill: str) -> None:
        """Draw a filled circle."""
        from matplotlib.patches import Ellipse

        size = 2 * radius / self.width, 2 * radius / self.height
        self._figure.add_artist(Ellipse(self._at(x, y), *size, facecolor=fill, linewidth=0))

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write `text` as it is, its base line at `y`. `style`: ha, va, size, color, rotation."""
        plain = {"parse_math": False, "usetex": False}
        style = {"size": FONT_SIZE, "color": INK, "va": "baseline", **plain, **style}
        self._figure.text(*self._at(x, y), visible_text(text), **style)

    def image(self, x: float, y: float, width: float, height: float, pixels: np.ndarray) -> None:
        """Draw `[row, column, rgba]` pixels, one rectangle each."""
        left, bottom = self._at(x, y + height)
        axes = self._figure.add_axes((left, bottom, width / self.width, height / self.height))
        axes.axis("off")
        axes.imshow(pixels, interpolation="none", aspect="auto", clip_on=False)

    def svg(self, label: str) -> str:
        """Return the drawing as one `<svg>` element, with `label` as its text alternative."""
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        output = io.StringIO()
        self._figure.patch.set_visible(False)
        settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "ivclaims", "path.simplify": False}
        # Settings and warning filters belong to the whole process.
        with _DRAWING, rc_context(settings), warnings.catch_warnings():
            # The browser chooses the font: what matplotlib's has no glyph for does not matter.
            warnings.filterwarnings("ignore", message="Glyph")
            FigureCanvasSVG(self._figure).print_svg(output, metadata={"Date": None})
        return _slim(output.getvalue(), self.width, self.height, visible_text(label))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x / self.width, 1 - y / self.height


def visible_text(text: str) -> str:
    """Return `text` with line ends, tabs and other control characters as visible signs.

    What XML and UTF-8 cannot hold (lone surrogates) becomes the replacement character.
    """
    return "".join(map(_visible_character, text))


def visible_token(token: str) -> str:
    """Return a token with its spaces and control characters as visible signs."""
    return visible_text(token).replace(" ", "·")


def _visible_character(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return {"\n": "⏎", "\t": "⇥"}.get(character, chr(0x2400 + code))
    category = unicodedata.category(character)
    if category in ("Cc", "Cs") or code & 0xFFFE == 0xFFFE:
        return "�"
    # Direction marks could make a page read otherwise than it is written.
    return "�" if category == "Cf" and unicodedata.bidirectional(character) != "BN" else character


def _slim(source: str, width: float, height: float, label: str) -> str:
    """Return matplotlib's SVG without ids, metadata, groups, fonts and needless digits."""
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width * 4 / 3:g}",
            "role": "img",
            "aria-label": label,
            "font-size": _DEFAULTS["font-size"],
            "fill": "currentColor",
        },
    )
    for element in ElementTree.fromstring(source).iter():  # noqa: S314 (matplotlib's own output)
        tag = element.tag.removeprefix(_SVG)
        if tag in ("path", "text", "image"):
            ElementTree.SubElement(root, tag, _attributes(element)).text = element.text
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    pairs = [part.split(":", 1) for part in element.get("style", "").split(";") if ":" in part]
    result = {name.strip(): value.strip() for name, value in pairs}
    result = {name: value for name, value in result.items() if name in _STYLES}
    result |= {name: element.attrib[name] for name in _PLACES if name in element.attrib}
    result = {name: _shorter(value, digits=_PLACES.get(name, 2)) for name, value in result.items()}
    result = {name: value for name, value in result.items() if _DEFAULTS.get(name) != value}
    if result.get("transform", "").startswith("rotate(0 "):
        del result["transform"]
    if image := element.get(f"{_XLINK}href"):
        result |= {"href": "".join(image.split()), "preserveAspectRatio": "none"}
    return {
        name: "currentColor" if value == INK else value
        for name, value in result.items()
        if not (name == "fill" and value == INK)
    }


def _shorter(value: str, *, digits: int) -> str:
    if value.startswith("#"):
        return value

    def rounded(match: re.Match[str]) -> str:
        return f"{round(float(match.group()), digits) + 0.0:g}"  # + 0.0 turns -0 into 0

    value = re.sub(r"-?\d+\.?\d*(?:e-?\d+)?", rounded, value)
    return re.sub(r"\s*([MLCz])\s*", r"\1", value).strip()
