"""The README's chart: times of other libraries over deltaprop's, on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape
from typing import Any

NETWORKS = ("tiny", "small", "medium", "large")
SHOWN = ("scikit-learn", "torch", "torch.compile", "jax", "keras")
LEFT, RIGHT, BAR, GAP, HEADER, FOOTER = 130, 60, 18, 26, 62, 30
WIDTH = 760
# An <img> sees the theme of the browser but not that of the page, so it has its own background.
STYLE = """
  .paper { fill: #ffffff; stroke: #d0d7de } .ink { fill: #1f2328 } .pale { fill: #59636e }
  .grid { stroke: #d8dee4 } .ours { stroke: #1f2328; stroke-width: 2 }
  .scikit-learn { fill: #f08c2e } .torch { fill: #e5533d } .torch-compile { fill: #b0413e }
  .jax { fill: #3f7fd0 } .keras { fill: #8a63c9 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #3d444d } .ink { fill: #f0f6fc } .pale { fill: #9198a1 }
    .grid { stroke: #2a313c } .ours { stroke: #f0f6fc }
  }
"""


def svg(results: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """Return the picture as text. Cases and peers without numbers are left out."""
    groups = [(r["title"], bars) for r in _networks(results) if (bars := _bars(r))]
    if not groups:
        raise ValueError(f"a chart needs one of the cases {', '.join(NETWORKS)}")
    ratios = [ratio for _, bars in groups for _, ratio in bars]
    scale = _Scale(min(1.0, *ratios), max(2.0, *ratios))
    height = HEADER + FOOTER + sum(GAP + BAR * len(bars) for _, bars in groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="13" role="img">',
        "<title>Time of a training step as a multiple of deltaprop's</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(20, 28, "Time of a training step ÷ deltaprop's", "ink", 'font-weight="600"'),
        _text(
            WIDTH - 20, 28, "right of the line: slower than deltaprop", "pale", 'text-anchor="end"'
        ),
    ]
    for tick in scale.ticks():
        parts.append(_text(scale(tick), HEADER - 6, f"{tick:g}×", "pale", 'text-anchor="middle"'))
    y = HEADER
    for title, bars in groups:
        parts.append(_text(20, y + 18, title, "ink", 'font-weight="600"'))
        top, y = y + GAP, y + GAP + BAR * len(bars)
        parts += [_line(scale(tick), top, y, "grid") for tick in scale.ticks()]
        parts += [_bar(scale, top + BAR * k, *bar) for k, bar in enumerate(bars)]
        parts.append(_line(scale(1), top, y, "ours"))
    parts.append(_text(20, height - 12, _footer(machine), "pale", 'font-size="11"'))
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """Maps a ratio to an x coordinate."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = math.log(low * 0.97), math.log(high)

    def __call__(self, ratio: float) -> float:
        fraction = (math.log(ratio) - self.low) / (self.high - self.low)
        return LEFT + fraction * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        powers = (factor * 10.0**k for k in range(-2, 4) for factor in (1, 2, 5))
        return [t for t in powers if self.low <= math.log(t) <= self.high]


def _networks(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    quiet = [r for r in results if not r["busy"]]
    return [r for name in NETWORKS for r in quiet if r["name"] == name]


def _bars(result: dict[str, Any]) -> list[tuple[str, float]]:
    ratios = {name: it["over_ours"] for name, it in result["contestants"].items()}
    return [(peer, ratios[peer]) for peer in SHOWN if ratios.get(peer)]


def _bar(scale: _Scale, y: float, peer: str, ratio: float) -> str:
    """Return a bar from 1, which is deltaprop, to the peer; it goes left if the peer is faster."""
    left, right = sorted((scale(1), scale(ratio)))
    kind = peer.replace(".", "-")
    rect = (
        f'<rect class="{kind}" x="{left:.1f}" y="{y + 2}" width="{max(right - left, 1):.1f}" '
        f'height="{BAR - 4}" rx="2"/>'
    )
    name = _text(LEFT - 10, y + 13, peer, "ink", 'text-anchor="end"')
    return rect + name + _text(right + 6, y + 13, _times(ratio), "ink")


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _footer(machine: dict[str, Any]) -> str:
    versions = machine["versions"]
    used = [
        f"{name} {versions[name]}"
        for name in ("scikit-learn", "torch", "jax", "keras")
        if name in versions
    ]
    return (
        f"{machine['processor']}, {machine['used'] or machine['processors']} cores, float32, Adam; "
        f"{', '.join(used)}; {machine['date'][:10]}"
    )


def _line(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'


def _text(x: float, y: float, text: str, kind: str, more: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}" {more}>{escape(text)}</text>'
