"""Maps of head activity, side by side."""

from typing import Any

import numpy as np

from ivevidence.figures.axes import LABEL_SIZE, clamped, label_every
from ivevidence.figures.colors import EDGE, cell_pixels, colorbar, text_colors
from ivevidence.figures.path_data import HeadMaps, HeadPanel
from ivevidence.figures.svg import INK, Canvas, circle
from ivevidence.figures.text import format_number, shorten, text_width, two_digits


def draw_head_maps(title: str, data: Any) -> str:
    """Draw `HeadMaps`."""
    maps = HeadMaps.from_json(data)
    layers, heads = maps.panels[0].shape if maps.panels else (0, 0)
    cell = clamped(150 / max(heads, 1), 5, 24), clamped(190 / max(layers, 1), 5, 18)
    height = max(layers * cell[1], text_width(maps.unit, LABEL_SIZE), 48.0)
    slot = max(heads * cell[0], 84.0) + 14
    columns = max(1, min(len(maps.panels), int(720 // slot)))
    rows = -(-len(maps.panels) // columns)
    left, top, row_height = 38.0, 22.0, height + 48
    right = left + columns * slot
    canvas = Canvas(right + 68, top + max(rows, 1) * row_height)
    for k, panel in enumerate(maps.panels):
        row, column = divmod(k, columns)
        corner = left + column * slot, top + row * row_height
        _draw_panel(canvas, panel, corner, cell, slot)
        if column == 0:
            for layer in range(0, layers, label_every(cell[1], 11)):
                place = left - 5, corner[1] + (layer + 0.5) * cell[1]
                canvas.text(*place, str(layer), anchor="end", middle=True, size=LABEL_SIZE)
            canvas.upright(11, corner[1] + height / 2, "layer")
    colorbar(canvas, right, top, height, (0.0, 1.0), maps.unit)
    _draw_key(canvas, maps, left, top + max(rows, 1) * row_height - 8)
    return canvas.svg(_describe_head_maps(title, maps))


def _draw_key(canvas: Canvas, maps: HeadMaps, x: float, y: float) -> None:
    """Say what marked and gray cells are, where there are any."""
    if any(flag for panel in maps.panels for flags in panel.significant for flag in flags):
        canvas.dot(x + 3, y - 3, 2)
        canvas.text(x + 9, y, maps.mark, size=LABEL_SIZE)
        x += 24 + text_width(maps.mark, LABEL_SIZE)
    if any(value is None for panel in maps.panels for values in panel.values for value in values):
        canvas.rect(x, y - 7, 8, 8, "#808080", alpha=0.2)
        canvas.text(x + 12, y, "no value", size=LABEL_SIZE)


def _draw_panel(
    canvas: Canvas,
    panel: HeadPanel,
    corner: tuple[float, float],
    cell: tuple[float, float],
    slot: float,
) -> None:
    (x, y), (layers, heads) = corner, panel.shape
    width, height = heads * cell[0], layers * cell[1]
    canvas.text(x, y - 7, shorten(panel.title, int(slot / text_width("x"))), bold=True)
    if not panel.values or not heads:
        return
    values = np.array(panel.values, dtype=float)
    pixels = cell_pixels(values)
    inks = np.where(np.isnan(values), INK, text_colors(pixels[..., :3]))
    canvas.image(x, y, width, height, pixels)
    canvas.rect(x, y, width, height, None, edge=EDGE, line=0.5)
    numbered = cell[0] >= 20
    marks: dict[str, list[str]] = {}
    for layer, head in np.ndindex(layers, heads):
        middle = x + (head + 0.5) * cell[0], y + (layer + 0.5) * cell[1]
        color = str(inks[layer, head])
        if numbered:
            said, place = two_digits(panel.values[layer][head]), (middle[0], middle[1] + 3)
            canvas.text(*place, said, anchor="middle", size=7.5, color=color)
        if panel.significant and panel.significant[layer][head]:
            place = (x + (head + 1) * cell[0] - 3, y + layer * cell[1] + 3) if numbered else middle
            marks.setdefault(color, []).append(circle(*place, clamped(min(cell) / 5, 1, 1.6)))
    for color, circles in marks.items():
        canvas.path("".join(circles), color)
    for head in range(0, heads, label_every(cell[0], 15)):
        place = x + (head + 0.5) * cell[0], y + height + 10
        canvas.text(*place, str(head), anchor="middle", size=LABEL_SIZE)
    canvas.text(x + width / 2, y + height + 21, "head", anchor="middle", size=8, alpha=0.7)


def _describe_head_maps(title: str, maps: HeadMaps) -> str:
    said = []
    for panel in maps.panels:
        entries = [
            (value, layer, head)
            for layer, row in enumerate(panel.values)
            for head, value in enumerate(row)
            if value is not None
        ]
        value, layer, head = max(entries, default=(None, 0, 0))
        where = f" at layer {layer}, head {head}" if entries else ""
        marked = sum(map(sum, panel.significant))
        said.append(f"{panel.title}: largest {format_number(value)}{where}, {marked} marked")
    return f"Head maps: {title}. {'; '.join(said)}."
