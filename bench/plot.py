"""Curves over time as an SVG file: for the docs, where no browser draws them."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Final

_WIDTH: Final = 760
_HEIGHT: Final = 240
_LEFT: Final = 64
_RIGHT: Final = 170
_TOP: Final = 34
_BOTTOM: Final = 28
_COLOURS: Final = ("#1b6ca8", "#c2410c", "#3f7d20", "#7c3aed", "#b91c5c", "#0f766e", "#8a6d00", "#475569", "#be123c")
_TICKS: Final = 4

Curve = Sequence[tuple[float, float]]
"""Points: minutes, and the value then."""


def svg(title: str, unit: str, curves: Mapping[str, Curve]) -> str:
    """A drawing of `curves` by their names, from 0 to the highest value; empty curves are left out."""
    drawn = {name: curve for name, curve in curves.items() if curve}
    end = max((x for curve in drawn.values() for x, _ in curve), default=1.0) or 1.0
    top = _round_up(max((y for curve in drawn.values() for _, y in curve), default=1.0))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="18" font-size="13">{html.escape(title)}, {html.escape(unit)}</text>',
        *_grid(end, top),
    ]
    for number, (name, curve) in enumerate(drawn.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{_x(x, end):.1f},{_y(y, top):.1f}" for x, y in curve)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        at = _TOP + 12 + 15 * number
        parts.append(f'<text x="{_WIDTH - _RIGHT + 12}" y="{at}" fill="{colour}">{html.escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _grid(end: float, top: float) -> list[str]:
    parts = []
    for step in range(_TICKS + 1):
        y, x = _y(top * step / _TICKS, top), _x(end * step / _TICKS, end)
        right = _WIDTH - _RIGHT
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * step / _TICKS:,.6g}</text>')
        label = f"{end * step / _TICKS:.3g}" + (" min" if step == _TICKS else "")
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{label}</text>')
    return parts


def _x(value: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / end


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15 ...; 1 for nothing at all."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8) if value <= power * step), power * 10)
