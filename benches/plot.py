#!/usr/bin/env python3
"""The picture of growth in docs/PERFORMANCE.md, from what benches/growth.py has measured.

    benches/plot.py FIGURES.json > docs/images/growth.svg
"""

import json
import math
import sys

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 340, 250, 58, 34, 40
# What is left at the right holds half of the last label.
PANEL = WIDTH - LEFT - 22
INK, GRID, LINE, SECOND = "#333", "#ddd", "#0b62a4", "#c2571a"


def panel(x0, title, points, unit, top, bottom):
    """One chart, both axes in tens: streams across, `points` as (label, color, [(streams, value)])."""
    streams = [math.log10(n) for n, _ in points[0][2]]
    low, high = math.log10(bottom), math.log10(top)
    across = lambda n: x0 + LEFT + PANEL * math.log10(n) / max(streams[-1], 1)
    up = lambda value: TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(max(value, bottom))) / (high - low)
    out = [f'<text x="{x0 + LEFT}" y="18" class="title">{title}</text>']
    for power in range(math.ceil(low), math.floor(high) + 1):
        value, y = 10**power, up(10**power)
        text = f"{value:,.0f}" if value >= 1 else f"{value:g}"
        out.append(f'<line x1="{x0 + LEFT}" x2="{x0 + LEFT + PANEL}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        out.append(f'<text x="{x0 + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text} {unit}</text>')
    for n, _ in points[0][2]:
        out.append(f'<text x="{across(n):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{n:,}</text>')
    out.append(f'<text x="{x0 + LEFT + PANEL / 2}" y="{HEIGHT - 6}" text-anchor="middle">streams</text>')
    for row, (label, color, values) in enumerate(points):
        path = " ".join(f"{across(n):.1f},{up(value):.1f}" for n, value in values)
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        out += [f'<circle cx="{across(n):.1f}" cy="{up(value):.1f}" r="3" fill="{color}"/>' for n, value in values]
        out.append(f'<text x="{x0 + LEFT + 10}" y="{TOP + 14 + 15 * row}" fill="{color}">{label}</text>')
    return out


def growth(sizes):
    """The whole picture: CPU time and peak memory over the number of streams."""
    of = lambda run, figure: [(size["streams"], size[run][figure]) for size in sizes]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" width="{2 * WIDTH}" '
           f'height="{HEIGHT}" font-family="sans-serif" font-size="11" fill="{INK}">',
           "<style>.title { font-weight: bold; font-size: 13px }</style>",
           f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    runs = [("first run", LINE, "first"), ("unchanged", SECOND, "again")]
    out += panel(0, "CPU time", [(l, c, of(r, "cpu")) for l, c, r in runs], "s", 1000, 0.001)
    out += panel(WIDTH, "peak memory", [(l, c, of(r, "peak_mib")) for l, c, r in runs], "MiB", 10000, 1)
    return "\n".join([*out, "</svg>"]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(growth(json.load(open(sys.argv[1]))))
