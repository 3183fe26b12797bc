"""Draws docs/collapse.svg: the old alarm and ours on the same planted models.

    HARMONICA_PLANTED_TABLE=planted.tsv cargo test --release -p harmonica-model-core planted
    python3 tools/plot_planted.py planted.tsv docs/collapse.svg
"""

import sys
from collections import defaultdict

NAMES = {
    "Trained": "healthy, trained", "Middling": "healthy, half trained", "Young": "healthy, young",
    "IgnoringText": "ignoring its text", "IgnoringPrompt": "ignoring its prompt", "Uniform": "uniform",
    "ConstantToken": "one token", "TwoTokens": "two tokens", "OneCodebookDead": "one codebook dead",
}
COLOURS = {"healthy": "#2a7", "undertrained": "#c90", "collapsed": "#c33"}
WINDOW = "1024"
PANEL, LEFT, ROW, WIDTH = 250, 170, 22, 940


def panel(out, x, title, share, threshold, rows):
    out.append(f'<text x="{x}" y="20" font-weight="bold">{title}</text>')
    for i, (values, colour) in enumerate(rows):
        y = 44 + i * ROW
        for value in values:
            at = x + PANEL * min(share(value), 1.0)
            out.append(f'<circle cx="{at:.1f}" cy="{y}" r="4" fill="{colour}" fill-opacity="0.6"/>')
    at, bottom = x + PANEL * threshold, 36 + len(rows) * ROW
    out.append(f'<path d="M{at} 30V{bottom}" stroke="#000" stroke-dasharray="3 3"/>')
    out.append(f'<path d="M{x} 30V{bottom}H{x + PANEL}" stroke="#999" fill="none"/>')
    for tick in (0, 0.5, 1):
        out.append(f'<text x="{x + PANEL * tick}" y="{bottom + 16}" text-anchor="middle">{tick}</text>')


def main(table, output):
    cells = defaultdict(list)
    for line in open(table):
        family, model, _, window, verdict, *figures = line.rstrip("\n").split("\t")
        if window == WINDOW:
            cells[model].append((float(figures[9]), float(figures[4]), verdict))
    order = [name for name in NAMES if name in cells]
    height = 90 + len(order) * ROW
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">']
    for i, name in enumerate(order):
        colour = COLOURS[cells[name][0][2]]
        out.append(f'<text x="{LEFT - 10}" y="{48 + i * ROW}" text-anchor="end" fill="{colour}">{NAMES[name]}</text>')
    colours = [COLOURS[cells[name][0][2]] for name in order]
    panel(out, LEFT, "distinct argmaxes (old alarm below 0.30)", lambda v: v, 0.30,
          [([c[0] for c in cells[n]], k) for n, k in zip(order, colours)])
    panel(out, LEFT + PANEL + 80, "sampled effective codes / targets' (collapsed below 0.5)", lambda v: v, 0.5,
          [([c[1] for c in cells[n]], k) for n, k in zip(order, colours)])
    out.append(f'<text x="{LEFT}" y="{height - 8}" fill="#555">window {WINDOW} tokens, 5 seeds, both families; '
               "colours are verdicts: healthy, undertrained, collapsed</text></svg>")
    open(output, "w").write("\n".join(out) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
