"""Plots as SVG elements that stand in a page: no script, no font and no colour from elsewhere. Pure.

Every text is escaped here. The classes are those of the page's style sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 640
_ROW = 26
_LABEL = 230
"""Pixels to the left of the scale."""

MOST_POINTS = 500
"""Samples of one side that are drawn."""


@dataclass(frozen=True)
class Effect:
    """One metric: its relative difference, the interval of that, and how far it may go either way."""

    name: str
    value: float
    low: float | None
    high: float | None
    threshold: float | None
    verdict: str


def effects(rows: Sequence[Effect]) -> str:
    """Relative differences with their intervals, on one scale around 0; the band is what does not count."""
    ends = [abs(end) for row in rows for end in (row.value, row.low, row.high, row.threshold) if end is not None]
    reach = min(max([*ends, 0.01]) * 1.1, 2.0)

    def x(value: float) -> float:
        inside = max(-reach, min(reach, value))
        return round(_LABEL + (inside / reach + 1) / 2 * (WIDTH - _LABEL - 20), 1)

    height = _ROW * len(rows) + 30
    parts = [f'<line class="axis" x1="{x(0)}" y1="0" x2="{x(0)}" y2="{height - 24}"/>']
    for place, row in enumerate(rows):
        y = place * _ROW + 14
        if row.threshold is not None:
            left, right = x(-row.threshold), x(row.threshold)
            parts.append(f'<rect class="band" x="{left}" y="{y - 9}" width="{round(right - left, 1)}" height="18"/>')
        if row.low is not None and row.high is not None:
            parts.append(f'<line class="{_word(row.verdict)}" x1="{x(row.low)}" y1="{y}" x2="{x(row.high)}" y2="{y}"/>')
        parts.append(f'<circle class="{_word(row.verdict)}" cx="{x(row.value)}" cy="{y}" r="4"/>')
        parts.append(f'<text x="0" y="{y + 4}">{escape(row.name)}</text>')
    for end in (-reach, 0.0, reach):
        parts.append(f'<text class="tick" x="{x(end)}" y="{height - 6}" text-anchor="middle">{end:+.1%}</text>')
    return _svg(parts, height, "relative differences with their 95 % intervals")


def samples(before: Sequence[float], after: Sequence[float], unit: str) -> str:
    """The samples of both sides on one scale: one point a run."""
    every = [*before, *after]
    low, high = min(every), max(every)
    reach = high - low

    def x(value: float) -> float:
        share = (value - low) / reach if reach else 0.5
        return round(_LABEL + 10 + share * (WIDTH - _LABEL - 40), 1)

    parts = []
    for place, (name, values) in enumerate((("before", before), ("after", after))):
        y = place * 18 + 10
        parts.append(f'<text x="{_LABEL - 10}" y="{y + 4}" text-anchor="end">{name}</text>')
        parts += [f'<circle class="{name}" cx="{x(value)}" cy="{y}" r="3"/>' for value in values[:MOST_POINTS]]
    for end, anchor in ((low, "start"), (high, "end")) if reach else ((low, "middle"),):
        told = escape(f"{end:.4g} {unit}".strip())
        parts.append(f'<text class="tick" x="{x(end)}" y="52" text-anchor="{anchor}">{told}</text>')
    return _svg(parts, 58, "samples of both sides")


def _svg(parts: Sequence[str], height: int, label: str) -> str:
    inside = "".join(parts)
    return f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">{inside}</svg>'


def _word(verdict: str) -> str:
    return verdict if verdict.replace("_", "").isalpha() and verdict.isascii() else "unknown"
