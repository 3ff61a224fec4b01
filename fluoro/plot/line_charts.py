"""Line charts as PNG files, drawn with Pillow: panels one below the other over one x axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from fluoro.files.image_files import save_image
from fluoro.plot.text_overlay import draw_text

__all__ = ["Curve", "Panel", "write_curves"]

Color = tuple[int, int, int]

WIDTH_PX, PANEL_HEIGHT_PX = 1000, 300
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 76, 24, 40, 42
GROUND, GRID, INK, DIM = (255, 255, 255), (225, 229, 232), (35, 40, 45), (105, 115, 122)
TEXT_PX = 15
SCALE = 2
"""Drawn larger and scaled down: Pillow's lines are not smooth."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line, or dots, through points.

    Attributes:
        name: In the legend.
        color: Red, green, blue.
        x: Positions; as many as `y`.
        y: Values.
        dots: Dots instead of a line.
    """

    name: str
    color: Color
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart.

    Attributes:
        title: Above it, with the unit.
        curves: What it shows.
        logarithmic: Whether its y axis is; values are then positive.
        level: Value of a dashed line; None: no line.
    """

    title: str
    curves: Sequence[Curve]
    logarithmic: bool = False
    level: float | None = None


def write_curves(path: Path | str, x_title: str, panels: Sequence[Panel]) -> None:
    """Draw panels into a PNG file.

    Raises:
        OutputError: It cannot be written.
    """
    path = Path(path)
    size = (WIDTH_PX * SCALE, PANEL_HEIGHT_PX * SCALE * len(panels))
    image = Image.new("RGB", size, GROUND)
    xs = [x for panel in panels for curve in panel.curves for x in curve.x] or [0.0]
    for row, panel in enumerate(panels):
        chart = _Chart(ImageDraw.Draw(image), row, (min(xs), max(xs)), panel)
        chart.draw(x_title if row == len(panels) - 1 else "")
    size = (size[0] // SCALE, size[1] // SCALE)
    save_image(path, image.resize(size, Image.Resampling.LANCZOS))


class _Chart:
    """One panel on its way to the canvas."""

    def __init__(
        self, canvas: ImageDraw.ImageDraw, row: int, x_span: tuple[float, float], panel: Panel
    ) -> None:
        self._canvas, self._panel = canvas, panel
        self._top = (row * PANEL_HEIGHT_PX + TOP_PX) * SCALE
        self._bottom = ((row + 1) * PANEL_HEIGHT_PX - BOTTOM_PX) * SCALE
        self._left, self._right = LEFT_PX * SCALE, (WIDTH_PX - RIGHT_PX) * SCALE
        self._x_ticks = [x for x in _ticks(*x_span) if x_span[0] <= x <= x_span[1]]
        self._x_span = x_span if x_span[1] > x_span[0] else (x_span[0] - 1, x_span[0] + 1)
        self._y_ticks = self._value_ticks()

    def _value_ticks(self) -> list[float]:
        values = [y for curve in self._panel.curves for y in curve.y] or [0.0]
        if self._panel.level is not None:
            values.append(self._panel.level)
        if self._panel.logarithmic:
            return _decades(min(values), max(values))
        return _ticks(min(values), max(values))

    def draw(self, x_title: str) -> None:
        """Grid, curves, title and legend."""
        for value in self._y_ticks:
            self._grid_line(value)
        for x in self._x_ticks:
            self._text((self._x(x), self._bottom + 6 * SCALE), f"{x:g}", DIM, "mt")
        self._text(((self._left + self._right) / 2, self._bottom + 24 * SCALE), x_title, INK, "mt")
        if self._panel.level is not None:
            self._dashes(self._y(self._panel.level))
        for curve in self._panel.curves:
            self._curve(curve)
        self._text((self._left, self._top - 26 * SCALE), self._panel.title, INK, "lt")
        self._legend()

    def _grid_line(self, value: float) -> None:
        y = self._y(value)
        self._canvas.line([(self._left, y), (self._right, y)], GRID, SCALE)
        self._text((self._left - 8 * SCALE, y), f"{value:g}", DIM, "rm")

    def _dashes(self, y: float) -> None:
        step = 14 * SCALE
        for x in range(self._left, self._right, step):
            self._canvas.line([(x, y), (x + step // 2, y)], DIM, SCALE)

    def _curve(self, curve: Curve) -> None:
        points = [(self._x(x), self._y(y)) for x, y in zip(curve.x, curve.y, strict=True)]
        if len(points) > 1 and not curve.dots:
            self._canvas.line(points, curve.color, 2 * SCALE, joint="curve")
        radius = 2.5 * SCALE if curve.dots or len(points) == 1 else 0
        for x, y in points if radius else []:
            self._canvas.ellipse((x - radius, y - radius, x + radius, y + radius), curve.color)

    def _legend(self) -> None:
        x = self._right
        for curve in reversed(self._panel.curves):
            self._text((x, self._top - 26 * SCALE), curve.name, curve.color, "rt")
            x -= (len(curve.name) * 8 + 24) * SCALE

    def _text(self, at: tuple[float, float], text: str, fill: Color, anchor: str) -> None:
        draw_text(self._canvas, at, text, size_px=TEXT_PX * SCALE, fill=fill, anchor=anchor)

    def _x(self, value: float) -> float:
        low, high = self._x_span
        return self._left + (value - low) / (high - low) * (self._right - self._left)

    def _y(self, value: float) -> float:
        low, high = self._y_ticks[0], self._y_ticks[-1]
        if self._panel.logarithmic:
            value = math.log(max(value, low))
            low, high = math.log(low), math.log(high)
        return self._bottom - (value - low) / (high - low) * (self._bottom - self._top)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that hold a range between them."""
    span = high - low if high > low else max(abs(low), 1.0)
    raw = span / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(n * step, 12) for n in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten that hold a range of positive numbers between them."""
    first = math.floor(math.log10(max(low, 1e-6)))
    last = max(math.ceil(math.log10(max(high, 1e-6))), first + 1)
    return [10.0**n for n in range(first, last + 1)]
