#!/usr/bin/env python3
"""Draws the figures of the documentation from the logs of runs. Python 3 standard library only.

  make_figures.py depth --run pre=runs/pre-24 --run post=runs/post-24 --run peri=runs/peri-24 --step 300 \\
      --output docs/figures/depth_profile.svg
  make_figures.py loss --run runs/quickstart --output docs/figures/quickstart_loss.svg [--yardstick markov.json]

`depth` reads stability.jsonl: entry-wise variance of the residual stream and Frobenius norm of dL/dx before every
sublayer, at one logged step. `loss` reads metrics.jsonl: training and validation loss in bits per byte (byte tokens);
the yardstick is the output of `plumb data describe --json` on the same splits. docs/metrics.md defines the fields.
"""
import argparse
import json
import math
import pathlib
import sys
from xml.sax.saxutils import escape

# Colours that stay apart for colour-blind readers and, by their lightness, in grey; dashes and markers tell them
# apart once more.
STYLES = [
    {"colour": "#882255", "dash": "", "marker": "circle"},
    {"colour": "#0077BB", "dash": "8 4", "marker": "square"},
    {"colour": "#E69F00", "dash": "2 4", "marker": "triangle"},
    {"colour": "#555555", "dash": "10 3 2 3", "marker": "circle"},
]
INK, GRID = "#222222", "#DDDDDD"
FONT = "DejaVu Sans, Helvetica, Arial, sans-serif"


def read_records(path):
    """Records of a JSON-lines file by step; a torn last line and the header are passed over."""
    records = {}
    for line in pathlib.Path(path).read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "step" in record:
            records[record["step"]] = record
    return records


class Svg:
    def __init__(self, width, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="{FONT}" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="white"/>',
        ]

    def line(self, x1, y1, x2, y2, colour=INK, width=1.0, dash=""):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"' + (f' stroke-dasharray="{dash}"' if dash else "") + "/>")

    def text(self, x, y, text, size=13, anchor="middle", colour=INK, weight="normal", turn=0):
        transform = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}"{transform}>{escape(text)}</text>')

    def polyline(self, points, colour, width=2.0, dash="", opacity=1.0, clip=""):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-linejoin="round" stroke-opacity="{opacity}"'
            + (f' stroke-dasharray="{dash}"' if dash else "")
            + (f' clip-path="url(#{clip})"' if clip else "") + "/>")

    def marker(self, x, y, kind, colour, size=4.0):
        if kind == "circle":
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{colour}"/>')
        elif kind == "square":
            self.parts.append(f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" '
                              f'height="{2 * size}" fill="{colour}"/>')
        else:
            corners = [(x, y - 1.2 * size), (x - 1.1 * size, y + size), (x + 1.1 * size, y + size)]
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
            self.parts.append(f'<polygon points="{path}" fill="{colour}"/>')

    def write(self, path):
        pathlib.Path(path).write_text("\n".join(self.parts) + "\n</svg>\n")
        print(f"{path} written")


def power_label(exponent):
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    if -1 <= exponent <= 2:
        return f"{10.0 ** exponent:g}"
    return "10" + str(exponent).translate(superscript)


def number_label(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def linear_ticks(low, high, wanted=6):
    step = 10.0 ** math.floor(math.log10((high - low) / wanted))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= wanted)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


class Panel:
    """One pair of axes; x is linear, y linear or logarithmic."""

    def __init__(self, svg, left, top, width, height, x_range, y_range, logarithmic):
        self.svg, self.left, self.top, self.width, self.height = svg, left, top, width, height
        self.x_range, self.logarithmic = x_range, logarithmic
        self.y_range = tuple(math.log10(y) for y in y_range) if logarithmic else y_range
        self.clip = f"panel{left}x{top}"  # what leaves the axes is cut off, not drawn along their edge
        svg.parts.append(f'<clipPath id="{self.clip}"><rect x="{left}" y="{top}" width="{width + 2}" '
                         f'height="{height + 2}"/></clipPath>')

    def at(self, x, y):
        y = math.log10(y) if self.logarithmic else y
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return self.left + across * self.width, self.top + (1 - up) * self.height

    def axes(self, title, x_title, y_title, x_ticks):
        svg, bottom, right = self.svg, self.top + self.height, self.left + self.width
        for value, label in self.y_ticks():
            y = self.at(self.x_range[0], value)[1]
            svg.line(self.left, y, right, y, GRID if label else "#F2F2F2")
            if label:
                svg.text(self.left - 8, y + 4.5, label, anchor="end")
        for value in x_ticks:
            x = self.left + (value - self.x_range[0]) / (self.x_range[1] - self.x_range[0]) * self.width
            svg.line(x, bottom, x, bottom + 5)
            svg.text(x, bottom + 20, number_label(value))
        svg.line(self.left, bottom, right, bottom)
        svg.line(self.left, self.top, self.left, bottom)
        svg.text(self.left + self.width / 2, bottom + 42, x_title)
        svg.text(self.left - 52, self.top + self.height / 2, y_title, turn=-90)
        svg.text(self.left, self.top - 14, title, size=14, anchor="start", weight="bold")

    def y_ticks(self):
        """(value, label); logarithmic: labels at powers of ten, bare lines between them."""
        low, high = self.y_range
        if not self.logarithmic:
            return [(value, number_label(value)) for value in linear_ticks(low, high)]
        ticks = []
        for exponent in range(math.floor(low), math.ceil(high) + 1):
            for digit in range(1, 10):
                value = digit * 10.0 ** exponent
                if low - 1e-9 <= math.log10(value) <= high + 1e-9:
                    ticks.append((value, power_label(exponent) if digit == 1 else ""))
        return ticks

    def curve(self, xs, ys, style, marker_every=0, width=2.2, opacity=1.0):
        points = [self.at(x, y) for x, y in zip(xs, ys) if y is not None and (y > 0 or not self.logarithmic)]
        if len(points) > 1:
            self.svg.polyline(points, style["colour"], width, style["dash"], opacity, self.clip)
        for x, y in points[::marker_every] if marker_every else []:
            self.svg.marker(x, y, style["marker"], style["colour"])


def legend(svg, x, y, names, styles, gap=110):
    for i, (name, style) in enumerate(zip(names, styles)):
        left = x + i * gap
        svg.polyline([(left, y), (left + 40, y)], style["colour"], 2.2, style["dash"])
        if style["marker"]:
            svg.marker(left + 20, y, style["marker"], style["colour"])
        svg.text(left + 48, y + 4.5, name, anchor="start")


def decade_range(values):
    """The powers of ten around all values; half a decade where that is enough."""
    low, high = math.log10(min(values)), math.log10(max(values))
    return 10 ** (math.floor(2 * low + 1e-9) / 2), 10 ** (math.ceil(2 * high - 1e-9) / 2)


def depth_figure(runs, step, output):
    profiles = {}
    for name, folder in runs:
        records = read_records(folder / "stability.jsonl")
        if step not in records:
            sys.exit(f"{folder}: no record of step {step}; there are {sorted(records)}")
        profiles[name] = records[step]["profiles"]["stream"]
    svg = Svg(920, 420, f"Stream variance and gradient norm against depth at step {step}: {', '.join(profiles)}")
    panels = [("entry_variance", "Forward: variance of the stream", "entry-wise variance"),
              ("gradient_norm", "Backward: gradient of the stream", "‖∂L/∂x‖ (Frobenius)")]
    for i, (field, title, y_title) in enumerate(panels):
        values = [y for profile in profiles.values() for y in profile[field] if y]
        last = len(next(iter(profiles.values()))[field]) - 1
        panel = Panel(svg, 82 + i * 458, 52, 350, 260, (0, last), decade_range(values), logarithmic=True)
        panel.axes(title, "sublayer k", y_title, range(0, last + 1, max(1, last // 6)))
        for (_, profile), style in zip(profiles.items(), STYLES):
            panel.curve(range(last + 1), profile[field], style, marker_every=max(1, last // 8))
    legend(svg, 290, 398, list(profiles), STYLES)
    svg.write(output)


def running_mean(values, window):
    """Mean of the last `window` values at every place (of fewer at the beginning)."""
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - window] if i >= window else 0.0)
        means.append(total / min(i + 1, window))
    return means


def extremes(xs, ys, bins):
    """The smallest and largest value of each of `bins` stretches: what a line through all points would cover."""
    size = max(1, -(-len(xs) // bins))
    points = []
    for first in range(0, len(xs), size):
        stretch = range(first, min(first + size, len(xs)))
        points += sorted({min(stretch, key=lambda i: ys[i]), max(stretch, key=lambda i: ys[i])})
    return [xs[i] for i in points], [ys[i] for i in points]


def loss_figure(folder, yardstick, output):
    records = [record for _, record in sorted(read_records(folder / "metrics.jsonl").items())]
    if not records:
        sys.exit(f"{folder}: metrics.jsonl has no record")
    steps = [record["step"] for record in records if record["loss"] is not None]
    losses = [record["loss"] / math.log(2) for record in records if record["loss"] is not None]
    window = max(1, len(steps) // 100)
    validation = [(record["step"], record["val_bits_per_byte"]) for record in records
                  if record.get("val_bits_per_byte") is not None]
    markov = json.loads(yardstick.read_text())["markov"] if yardstick else []

    lowest = min(losses + [y for _, y in validation] + [figure["bits_per_token"] for figure in markov])
    svg = Svg(760, 430, "Training and validation loss in bits per byte against the optimiser step")
    panel = Panel(svg, 72, 48, 580, 280, (0, steps[-1]), (math.floor(2 * lowest) / 2, 5.0), logarithmic=False)
    panel.axes("Quick start: loss", "optimiser step", "bits per byte", linear_ticks(0, steps[-1]))
    label_y = math.inf
    for figure in sorted(markov, key=lambda figure: figure["bits_per_token"]):
        x, y = panel.at(steps[-1], figure["bits_per_token"])
        label_y = min(y + 4, label_y - 13)  # labels must not overlap
        svg.line(panel.left, y, x, y, "#888888", 1, "3 3")
        svg.text(x + 8, label_y, f"order {figure['order']}", size=11, anchor="start", colour="#555555")
    raw = {"colour": STYLES[2]["colour"], "dash": "", "marker": ""}
    mean = {"colour": STYLES[0]["colour"], "dash": "", "marker": ""}
    held_out = {"colour": STYLES[1]["colour"], "dash": "8 4", "marker": "square"}
    panel.curve(*extremes(steps, losses, 300), raw, width=0.8, opacity=0.5)
    stride = max(1, len(steps) // 400)
    panel.curve(steps[::stride], running_mean(losses, window)[::stride], mean)
    panel.curve([x for x, _ in validation], [y for _, y in validation], held_out, marker_every=1)
    names = ["every step", f"mean of {window} steps", "validation"]
    legend(svg, 90, 404, names, [raw, mean, held_out], gap=190)
    if markov:
        svg.text(panel.left + panel.width, 42, "dashed: Markov models of order n", size=11, anchor="end",
                 colour="#555555")
    svg.write(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    depth = commands.add_parser("depth", help="profiles over depth of several runs")
    depth.add_argument("--run", action="append", required=True, metavar="NAME=FOLDER")
    depth.add_argument("--step", type=int, required=True)
    depth.add_argument("--output", required=True)
    loss = commands.add_parser("loss", help="loss curve of one run")
    loss.add_argument("--run", type=pathlib.Path, required=True, metavar="FOLDER")
    loss.add_argument("--yardstick", type=pathlib.Path, help="output of plumb data describe --json")
    loss.add_argument("--output", required=True)
    arguments = parser.parse_args()
    if arguments.command == "depth":
        runs = [text.partition("=") for text in arguments.run]
        if any(not separator for _, separator, _ in runs) or len(runs) > len(STYLES):
            parser.error(f"--run wants NAME=FOLDER, at most {len(STYLES)} times")
        depth_figure([(name, pathlib.Path(folder)) for name, _, folder in runs], arguments.step, arguments.output)
    else:
        loss_figure(arguments.run, arguments.yardstick, arguments.output)


if __name__ == "__main__":
    main()
