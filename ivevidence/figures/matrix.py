"""Matrices as colors, one or several side by side."""

import numpy as np

from ivevidence.figures.axes import LABEL_SIZE, Rows, clamped, label_every
from ivevidence.figures.colors import EDGE, cell_pixels, colorbar, text_colors
from ivevidence.figures.data import Matrix, Panel
from ivevidence.figures.svg import INK, Canvas, outline
from ivevidence.figures.text import largest, shorten, squeeze, text_width, two_digits

_WIDEST = 24.0  # column names wider than that stand upright


def draw_matrix(title: str, matrix: Matrix) -> str:
    """Draw a `Matrix`."""
    side = 220.0 if len(matrix.panels) < 2 else 170.0
    width = clamped(side / max(len(matrix.columns), 1), 5, 30)
    high = clamped(side / max(len(matrix.rows), 1), 5, 24)
    above = 22.0 if any(panel.title for panel in matrix.panels) else 8.0
    rows = Rows.of(matrix.rows, high, top=above)
    names = [squeeze(name) for name in matrix.columns]
    widest = max((text_width(name, LABEL_SIZE) for name in names), default=0.0)
    below = 27 + (widest if widest > _WIDEST else LABEL_SIZE)
    height = max(rows.foot - rows.top, text_width(matrix.unit, LABEL_SIZE), 48.0)
    slot = max(width * len(names), 84.0) + 14
    across = max(1, min(len(matrix.panels), int(720 // slot)))
    down = max(1, -(-len(matrix.panels) // across))
    right, pitch = rows.left + across * slot, above + height + below
    mark = shorten(matrix.mark, 34)
    wide = max(right + 74, rows.left + 84 + text_width(mark, LABEL_SIZE))
    canvas = Canvas(wide, down * pitch + 8)
    limit = matrix.limit or np.max(np.abs(_known(matrix)), initial=0.0) or 1.0
    for k, panel in enumerate(matrix.panels):
        line, place = divmod(k, across)
        x, y = rows.left + place * slot, line * pitch + above
        if place == 0:
            Rows(rows.names, {}, high, y, rows.left).draw(canvas, right)
            canvas.upright(9, y + height / 2, shorten(matrix.row_label, 24))
        canvas.text(x, y - 7, shorten(panel.title, int(slot / text_width("x"))), bold=True)
        if panel.values and names:
            _draw_panel(canvas, panel, (x, y), (width, high), limit)
            _draw_columns(canvas, names, (x, y + len(panel.values) * high), width)
            foot = y + len(panel.values) * high + below - 13
            middle = x + len(names) * width / 2
            said = shorten(matrix.column_label, int(slot / text_width("x")))
            canvas.text(middle, foot, said, anchor="middle", size=LABEL_SIZE, alpha=0.7)
    low = -limit if any(value < 0 for value in _known(matrix)) else 0.0
    colorbar(canvas, right, above, height, (low, limit), matrix.unit)
    _draw_key(canvas, matrix, mark, rows.left, down * pitch + 2)
    return canvas.svg(_describe(title, matrix))


def _known(matrix: Matrix) -> list[float]:
    values = (value for panel in matrix.panels for row in panel.values for value in row)
    return [value for value in values if value is not None]


def _draw_panel(
    canvas: Canvas,
    panel: Panel,
    corner: tuple[float, float],
    cell: tuple[float, float],
    limit: float,
) -> None:
    (left, top), (width, high) = corner, cell
    values = np.array(panel.values, dtype=float)
    pixels = cell_pixels(values / limit)
    inks = np.where(np.isnan(values), INK, text_colors(pixels[..., :3]))
    size = values.shape[1] * width, values.shape[0] * high
    canvas.image(left, top, *size, pixels)
    canvas.rect(left, top, *size, None, edge=EDGE, line=0.5)
    if width >= 20 and high >= 12:
        for row, column in np.argwhere(~np.isnan(values)):
            place = left + (column + 0.5) * width, top + (row + 0.5) * high
            said, color = two_digits(values[row, column]), inks[row, column]
            if text_width(said, 6) <= width:
                canvas.text(*place, said, anchor="middle", middle=True, size=7.5, color=color)
    marks: dict[str, str] = {}
    for row, column in panel.marked:
        x, y = left + column * width, top + row * high
        corners = [(x + 1, y + 1), (x + width - 1, y + 1)]
        corners += [(x + width - 1, y + high - 1), (x + 1, y + high - 1)]
        color = str(inks[row, column])
        marks[color] = marks.get(color, "") + outline(corners, closed=True)
    for color, d in marks.items():
        canvas.path(d, stroke=color, width=clamped(min(cell) / 9, 0.8, 1.6))


def _draw_columns(
    canvas: Canvas, names: list[str], corner: tuple[float, float], width: float
) -> None:
    widest = max(text_width(name, LABEL_SIZE) for name in names)
    upright = widest > _WIDEST
    for k in range(0, len(names), label_every(width, LABEL_SIZE + 2 if upright else widest + 4)):
        x, y = corner[0] + (k + 0.5) * width, corner[1] + 10
        if upright:
            place = x, corner[1] + 4
            canvas.text(*place, names[k], anchor="end", angle=90, middle=True, size=LABEL_SIZE)
        else:
            canvas.text(x, y, names[k], anchor="middle", size=LABEL_SIZE)


def _draw_key(canvas: Canvas, matrix: Matrix, mark: str, x: float, y: float) -> None:
    """Say what marked and gray cells are, where there are any."""
    if any(panel.marked for panel in matrix.panels):
        canvas.rect(x, y - 7, 8, 8, None, edge=INK)
        canvas.text(x + 12, y, mark, size=LABEL_SIZE)
        x += 28 + text_width(mark, LABEL_SIZE)
    if any(value is None for panel in matrix.panels for row in panel.values for value in row):
        canvas.rect(x, y - 7, 8, 8, "#808080", alpha=0.2)
        canvas.text(x + 12, y, "no value", size=LABEL_SIZE)


def _describe(title: str, matrix: Matrix) -> str:
    names = [
        f"{matrix.row_label} {row}, {matrix.column_label} {column}"
        for row in matrix.rows
        for column in matrix.columns
    ]
    said = [
        f"{panel.title}: {largest([v for row in panel.values for v in row], names)}, "
        f"{len(panel.marked)} {matrix.mark}"
        for panel in matrix.panels
    ]
    return f"Matrix: {title}. {'; '.join(said)}."
