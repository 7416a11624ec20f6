#!/usr/bin/env python3
"""Tables and figure of docs/studies/placements.md, from the folder of a finished sweep. Python 3 standard library only.

  placements.py runs/placements [--figure docs/figures/placements_study.svg] > tables.md

Every number is the mean over the seeds of a cell with its 95 % interval, Student's t over the seeds. Growth classes and
verdicts are those of `plumb report`, read from the sweep's report.html; profiles are those of stability.jsonl.
"""
import argparse
import collections
import json
import math
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "figures"))
from make_figures import STYLES, Panel, Svg, decade_range, legend, read_records  # noqa: E402

# Two-sided 95 % points of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
STATISTICS = [("mean_abs", "Mean |x|"), ("entry_variance", "Entry-wise variance"),
              ("data_variance", "Data-wise variance")]
STEP_NAMES = {"b=1": "1", "b=0.1": "0.1", "b=inverse-sqrt-K": "1/√K"}


def interval(values):
    """(mean, half width); the half width is NaN for one value."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return mean, math.nan
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    return mean, STUDENT[count - 1] * deviation / math.sqrt(count)


def shown(values, digits=3):
    """Mean and interval as text; of positive values over more than a decade the geometric mean and a factor. Values
    that some seeds do not have: of how many it is."""
    every, values = len(values), [value for value in values if value is not None]
    if not values or any(not math.isfinite(value) for value in values):
        return "not finite" if values else "n/a"
    if len(values) == 1:
        return f"{values[0]:.{digits}g} (1 of {every})"
    if len(values) < every:
        return f"{shown(values, digits)} ({len(values)} of {every})"
    if min(values) > 0 and max(values) > 10 * min(values):
        mean, half = interval([math.log(value) for value in values])
        return f"{math.exp(mean):.2g} ×/÷ {math.exp(half):.2g}"
    mean, half = interval(values)
    return f"{mean:.{digits}g} ± {half:.2g}"


class Run:
    def __init__(self, page, folder):
        self.summary = page["summary"]
        self.events = collections.Counter(
            json.loads(line)["kind"] for line in (folder / "events.jsonl").read_text().splitlines() if line)
        records = read_records(folder / "stability.jsonl")
        self.first, self.last = records[min(records)], records[max(records)]
        self.least_gradient = min(self.gradient_ratio(record, 1) for record in records.values())
        self.most_gradient = max(self.gradient_ratio(record, 1) for record in records.values())

    def stream(self, record, field):
        return record["profiles"]["stream"][field]

    def top(self, record, field):
        return self.stream(record, field)[-1]

    def half_way(self, record):
        variances = self.stream(record, "entry_variance")
        return variances[len(variances) // 2]

    def gradient_ratio(self, record, level):
        gradients = self.stream(record, "gradient_norm")
        return gradients[level] / gradients[-1]

    def growth(self, which):
        return self.summary[which]

    def bound_share(self):
        bound = self.summary["bound"]
        return bound["share"] if bound else None


def read_cells(sweep):
    """{(placement, step): [Run of each seed]}, in the order of the sweep."""
    text = (sweep / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    pages = {pathlib.Path(page["directory"]).name: page for page in json.loads(found.group(1))["runs"]}
    cells = collections.defaultdict(list)
    for name, page in pages.items():
        words = re.search(r"_(\w+)_(b=[^_]+)$", name)
        cells[words.group(1), words.group(2)].append(Run(page, sweep / name))
    if len({len(runs) for runs in cells.values()}) > 1:
        sys.exit(f"{sweep}: not every cell has the same number of seeds: the sweep is not finished")
    return cells


def counted(names):
    return ", ".join(f"{count} {name}" for name, count in collections.Counter(names).most_common())


def table(title, header, rows):
    print(f"\n### {title}\n\n| placement | b | " + " | ".join(header) + " |\n|---|---|" + "---|" * len(header))
    for (placement, step), columns in rows:
        print(f"| {placement} | {STEP_NAMES.get(step, step)} | " + " | ".join(columns) + " |")


def print_tables(cells):
    table("Loss", ["first loss", "final validation loss", "spikes, % of steps", "skipped steps", "verdicts"],
          [(cell, [shown([run.summary["first_loss"] for run in runs]),
                   shown([run.summary["final_validation"]["value"] for run in runs], 4),
                   shown([run.summary["monitor_percent"] for run in runs], 2),
                   f'{sum(run.summary["skipped_steps"] for run in runs):.0f}',
                   counted([run.summary["verdict"] for run in runs])]) for cell, runs in cells.items()])
    for title, which, record in (("At the first step", "first_growth", lambda run: run.first),
                                 ("At the last record", "last_growth", lambda run: run.last)):
        table(title,
              ["mean \\|x\\| at the top", "Var_K / Var_0", "Var_K / Var_K/2", "data / entry variance at the top", "growth class", "exponent p",
               "gradient, level 0 / top", "gradient, level 1 / top"],
              [(cell, [shown([run.top(record(run), "mean_abs") for run in runs]),
                       shown([run.top(record(run), "entry_variance") / run.stream(record(run), "entry_variance")[0]
                              for run in runs]),
                       shown([run.top(record(run), "entry_variance") / run.half_way(record(run)) for run in runs]),
                       shown([run.top(record(run), "data_variance") / run.top(record(run), "entry_variance")
                              for run in runs]),
                       counted([run.growth(which)["class"] if run.growth(which) else "n/a" for run in runs]),
                       shown([run.growth(which)["exponent"] if run.growth(which) else None for run in runs]),
                       *(shown([run.gradient_ratio(record(run), level) for run in runs]) for level in (0, 1))])
               for cell, runs in cells.items()])
    table("Gradient norm, level 1 / top, over training", ["least of all records", "largest of all records"],
          [(cell, [shown([run.least_gradient for run in runs]), shown([run.most_gradient for run in runs])])
           for cell, runs in cells.items()])
    table("Bounds", ["largest share of the bound in a run", "violations"],
          [(cell, [shown([run.bound_share() for run in runs]), str(sum(run.events["bound_violation"] for run in runs))])
           for cell, runs in cells.items()])


def draw(cells, output):
    """The figure of arXiv 2510.09904: three moments of the trained stream against depth; a row for each step b."""
    placements = list(dict.fromkeys(placement for placement, _ in cells))
    steps = list(dict.fromkeys(step for _, step in cells))
    svg = Svg(1330, 60 + 350 * len(steps), "Moments of the trained stream against depth")
    for row, step in enumerate(steps):
        for column, (field, title) in enumerate(STATISTICS):
            means = {}
            for placement in placements:
                profiles = [run.stream(run.last, field) for run in cells[placement, step]]
                means[placement] = [[math.log(value) if value else math.nan for value in level] for level in zip(*profiles)]
            every = [math.exp(value) for levels in means.values() for level in levels for value in level
                     if not math.isnan(value)]
            last = len(next(iter(means.values()))) - 1
            panel = Panel(svg, 90 + column * 430, 52 + row * 350, 330, 230, (0, last), decade_range(every), True)
            panel.axes(f"{title}, b = {STEP_NAMES.get(step, step)}", "sublayer k", title, range(0, last + 1, 12))
            for placement, style in zip(placements, STYLES):
                levels = means[placement]
                panel.curve(range(last + 1), [math.exp(interval(level)[0]) for level in levels], style, marker_every=8)
                for sign in (-1, 1):
                    edge = [math.exp(interval(level)[0] + sign * interval(level)[1]) for level in levels]
                    panel.curve(range(last + 1), edge, {**style, "dash": ""}, width=0.8, opacity=0.5)
    legend(svg, 480, 40 + 350 * len(steps), placements, STYLES)
    svg.write(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=pathlib.Path)
    parser.add_argument("--figure", type=pathlib.Path)
    arguments = parser.parse_args()
    cells = read_cells(arguments.sweep)
    print_tables(cells)
    if arguments.figure:
        draw(cells, arguments.figure)


if __name__ == "__main__":
    main()
