"""A small drawing surface that writes SVG to stand in a page.

Positions are in points from the upper left corner. Ink is `currentColor`, so that a figure follows
the page into dark mode; no ids, so that any number of figures can stand in one page.
"""

import base64
import struct
import unicodedata
import zlib
from collections.abc import Iterable
from xml.etree import ElementTree

import numpy as np

INK = "currentColor"
FONT_SIZE = 9.0

Point = tuple[float, float]


class Canvas:
    """A drawing surface of `width` x `height` points; what is drawn later covers what was before.

    A color is any of SVG's, `INK`, or None to leave out fill or stroke.
    """

    def __init__(self, width: float, height: float) -> None:
        self._root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {_number(width)} {_number(height)}",
                "width": _number(width * 4 / 3),
                "role": "img",
                "font-size": f"{FONT_SIZE:g}px",
                "fill": INK,
            },
        )

    def path(
        self,
        d: str,
        fill: str | None = None,
        *,
        stroke: str | None = None,
        width: float = 1.0,
        alpha: float = 1.0,
        dash: str = "",
    ) -> None:
        """Draw the path `d`, in SVG's notation; `dash` is its pattern of strokes and gaps."""
        lined = stroke is not None
        self._add(
            "path",
            d=d,
            fill=None if fill == INK else fill or "none",
            stroke=stroke,
            stroke_width=_number(width) if lined and width != 1 else None,
            stroke_dasharray=dash or None,
            opacity=_opacity(alpha),
        )

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str | None = INK,
        *,
        edge: str | None = None,
        line: float = 1.0,
        alpha: float = 1.0,
    ) -> None:
        """Draw a rectangle with its upper left corner at (x, y)."""
        x0, y0, x1, y1 = map(_number, (x, y, x + width, y + height))
        self.path(f"M{x0} {y0}H{x1}V{y1}H{x0}z", fill, stroke=edge, width=line, alpha=alpha)

    def line(
        self,
        points: Iterable[Point],
        color: str = INK,
        *,
        width: float = 1.0,
        alpha: float = 1.0,
        dash: str = "",
    ) -> None:
        """Draw a line through the points."""
        self.path(outline(points), stroke=color, width=width, alpha=alpha, dash=dash)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: float = FONT_SIZE,
        color: str = INK,
        alpha: float = 1.0,
        bold: bool = False,
        angle: float = 0.0,
        middle: bool = False,
    ) -> None:
        """Write `text` as it is, its base line (or, `middle`, its half height) at `y`.

        `anchor`: which of its ends (start, middle, end) is at `x`; `angle`: degrees to the left.
        """
        left, top = _number(x), _number(y)
        self._add(
            "text",
            text,
            x=left,
            y=top,
            dy=".35em" if middle else None,
            text_anchor=None if anchor == "start" else anchor,
            font_size=None if size == FONT_SIZE else f"{size:g}px",
            font_weight="700" if bold else None,
            fill=None if color == INK else color,
            opacity=_opacity(alpha),
            transform=f"rotate({-angle:g} {left} {top})" if angle else None,
        )

    def upright(self, x: float, y: float, text: str, *, size: float = FONT_SIZE) -> None:
        """Write the name of an upright axis, its middle at (x, y)."""
        self.text(x, y, text, anchor="middle", angle=90, alpha=0.7, size=size)

    def image(self, x: float, y: float, width: float, height: float, pixels: np.ndarray) -> None:
        """Draw `[row, column, rgba]` pixels in [0, 1], one rectangle each."""
        self._add(
            "image",
            x=_number(x),
            y=_number(y),
            width=_number(width),
            height=_number(height),
            href="data:image/png;base64," + base64.b64encode(_png(pixels)).decode("ascii"),
            preserveAspectRatio="none",
            image_rendering="pixelated",  # an attribute: a page's policy may forbid styles in it
        )

    def svg(self, label: str) -> str:
        """Return the drawing as one `<svg>` element, with `label` as its text alternative."""
        self._root.set("aria-label", visible_text(label))
        return ElementTree.tostring(self._root, encoding="unicode")

    def _add(self, tag: str, text: str | None = None, /, **attributes: str | None) -> None:
        given = {k.replace("_", "-"): v for k, v in attributes.items() if v is not None}
        element = ElementTree.SubElement(self._root, tag, given)
        element.text = None if text is None else visible_text(text)


def outline(points: Iterable[Point], *, closed: bool = False) -> str:
    """Return the path through the points, in SVG's notation."""
    steps = [f"{_number(x)} {_number(y)}" for x, y in points]
    return "M" + "L".join(steps) + "z" * closed if steps else ""


def circle(x: float, y: float, radius: float) -> str:
    """Return the path of a circle, in SVG's notation."""
    r, d = _number(radius), _number(2 * radius)
    return f"M{_number(x - radius)} {_number(y)}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z"


def visible_text(text: str) -> str:
    """Return `text` with line ends, tabs and other control characters as visible signs.

    What XML and UTF-8 cannot hold (lone surrogates) becomes the replacement character.
    """
    return text if text.isprintable() else "".join(map(_visible_character, text))


def visible_token(token: str) -> str:
    """Return a token with its spaces and control characters as visible signs."""
    return visible_text(token).replace(" ", "·")


def _visible_character(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return {"\n": "⏎", "\t": "⇥"}.get(character, chr(0x2400 + code))
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Zl", "Zp") or code & 0xFFFE == 0xFFFE:
        return "�"
    # Direction marks could make a page read otherwise than it is written.
    return "�" if category == "Cf" and unicodedata.bidirectional(character) != "BN" else character


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:g}"  # + 0.0 turns -0 into 0


def _opacity(alpha: float) -> str | None:
    return None if alpha == 1 else f"{alpha:g}"


def _png(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape[:2]
    rows = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    filtered = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">2I5B", width, height, 8, 6, 0, 0, 0)  # 8 bits a channel, RGBA
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
