"""Mutation tests of the CUDA kernels, on the emulated device, and of the gradient reducer: tests/emulation/README.md."""

import argparse
import json
import sys
import time
from pathlib import Path

import operators
from judge import REDUCER, Judge, Limits
from operators import Mutant
from workplace import Workplace

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
UNFINISHED = 3  # the exit status


def all_mutants(sources: list[str]) -> dict[str, list[Mutant]]:
    return {source: operators.mutants_of(source, (REPOSITORY / source).read_text()) for source in sources}


def shares(sizes: dict[str, int], total: int) -> dict[str, int]:
    """`total` divided in proportion to the sizes, by largest remainder."""
    whole = sum(sizes.values())
    exact = {name: total * size / whole for name, size in sizes.items()}
    given = {name: min(int(value), sizes[name]) for name, value in exact.items()}
    for name in sorted(exact, key=lambda one: (given[one] - exact[one], one)):
        if sum(given.values()) >= min(total, whole):
            break
        given[name] += given[name] < sizes[name]
    return given


def draw(mutants: dict[str, list[Mutant]], count: int, seed: int) -> list[tuple[Mutant, list[Mutant]]]:
    """The drawn mutants in a random order, each with the spare ones of its source for the case that it does not
    compile. Spare ones are shared: whoever needs one takes the next."""
    given = shares({source: len(found) for source, found in mutants.items()}, count)
    chosen = []
    for source in sorted(mutants):
        ordered = sorted(mutants[source], key=lambda one: (one.place_in_draw(seed), one.line))
        spare = ordered[given[source]:]
        chosen += [(one, spare) for one in ordered[:given[source]]]
    return sorted(chosen, key=lambda one: one[0].place_in_draw(seed))


class Equivalents:
    """equivalent.txt: survivors that are no faults, by file and changed line."""

    def __init__(self, path: Path):
        self.known: dict[tuple[str, str, str], str] = {}
        entry: dict[str, str] = {}
        for line in path.read_text().split("\n") + [""]:
            if line.startswith("#"):
                continue
            mark, _, rest = line.partition(" ")
            if mark in ("@", "-", "+", "="):
                entry[mark] = (entry[mark] + " " + rest if mark == "=" and mark in entry else rest).strip()
            elif not line.strip() and entry:
                if set(entry) != {"@", "-", "+", "="} or not entry["="]:
                    raise SystemExit(f"mutation: {path.name}: an entry needs the lines @ - + and =: {entry}")
                self.known[entry["@"], entry["-"], entry["+"]] = entry["="]
                entry = {}

    def argument(self, mutant: dict) -> str | None:
        return self.known.get((mutant["source"], mutant["before"], mutant["after"]))

    def knows(self, mutant: Mutant) -> bool:
        return (mutant.source, mutant.before, mutant.after) in self.known


class Results:
    """What is known from this and earlier slices: one JSON line for each judged mutant."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().split("\n") if path.exists() else []
        self.known = {one["identity"]: one for one in map(json.loads, filter(None, lines))}

    def add(self, mutant: Mutant, judgement) -> dict:
        one = {"identity": mutant.identity, "source": mutant.source, "operator": mutant.operator, "line": mutant.line,
               "before": mutant.before, "after": mutant.after, "status": judgement.status, "by": judgement.by,
               "seconds": round(judgement.seconds, 1)}
        self.known[mutant.identity] = one
        with self.path.open("a") as file:
            file.write(json.dumps(one) + "\n")
        return one


def report(judged: list[dict], wanted: int, unseen: int, equivalents: Equivalents) -> tuple[str, int]:
    """The text, and how many survivors are not argued to be equivalent. `unseen`: argued ones that were not judged."""
    survivors = [one for one in judged if one["status"] == "survived"]
    open_ones = [one for one in survivors if equivalents.argument(one) is None]
    lines = [f"mutation: {len(judged)} of {wanted} mutants judged: {len(judged) - len(survivors)} killed, "
             f"{len(survivors) - len(open_ones)} survived and are equivalent, {len(open_ones)} survived"
             + (f"; {unseen} more are argued to be equivalent" if unseen else "")]
    for title in ("source", "operator"):
        for name in sorted({one[title] for one in judged}):
            group = [one for one in judged if one[title] == name]
            lived = sum(one["status"] == "survived" for one in group)
            lines.append(f"  {name:45} {len(group) - lived:3} of {len(group):3} killed")
    for one in survivors:
        argument = equivalents.argument(one)
        lines.append(f"\n{'equivalent' if argument else 'SURVIVED'}: {one['operator']}\n"
                     f"@ {one['source']} (line {one['line']})\n- {one['before']}\n+ {one['after']}")
        if argument:
            lines.append(f"= {argument}")
    return "\n".join(lines), len(open_ones)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launch/mutation.sh", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many mutants (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default 1)")
    parser.add_argument("--slice", type=float, default=450, metavar="SECONDS",
                        help="stop after that; the next call goes on (default 450)")
    parser.add_argument("--total", type=float, default=3600, metavar="SECONDS", help="of all slices (default 3600)")
    parser.add_argument("--sample", type=float, metavar="SECONDS",
                        help="as many of the mutants as fit, from the start, but for those of equivalent.txt")
    parser.add_argument("--again", action="store_true",
                        help="judge survivors that are not argued once more: a test was added")
    parser.add_argument("--only", default="", metavar="TEXT", help="only sources whose path holds it")
    parser.add_argument("--list", action="store_true", help="print the drawn mutants and do nothing")
    parser.add_argument("--build", type=Path, default=REPOSITORY / "build/release", help="(default build/release)")
    parser.add_argument("--sanitized", type=Path, default=REPOSITORY / "build/sanitize",
                        help="a build with the address sanitizer (default build/sanitize)")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    kernels = sorted(path.relative_to(REPOSITORY).as_posix() for pattern in ("*.cu", "*.cuh", "device/*.cuh")
                     for path in (REPOSITORY / "framework/backends/cuda").glob(pattern))
    sources = [one for one in [*kernels, REDUCER] if arguments.only in one]
    drawn = draw(all_mutants(sources), arguments.count, arguments.seed)
    equivalents = Equivalents(HERE / "equivalent.txt")
    if arguments.list:
        for mutant, _ in drawn:
            print(f"{mutant.operator}\n@ {mutant.source} (line {mutant.line})\n- {mutant.before}\n+ {mutant.after}\n")
        return 0
    # A survivor takes as long as ten that are killed. That argued ones survive is seen where there is time for it.
    argued = [one for one in drawn if equivalents.knows(one[0])]
    drawn = [one for one in drawn if not equivalents.knows(one[0])] + ([] if arguments.sample else argued)
    folder = arguments.build / "mutation"
    results = Results(folder / ("sample.jsonl" if arguments.sample else "results.jsonl"))
    if arguments.sample:
        results.known.clear()
    if arguments.again:
        results.known = {name: one for name, one in results.known.items()
                         if one["status"] != "survived" or equivalents.argument(one) is not None}
    judge = Judge(Workplace(REPOSITORY, arguments.build, folder / "scratch"),
                  Workplace(REPOSITORY, arguments.sanitized, folder / "scratch_sanitized"),
                  Limits(folder / "limits.json", arguments.build))
    limit = time.monotonic() + (arguments.sample or arguments.slice)
    judged, slowest, spent = [], 20.0, 0.0  # spent: on mutants of this draw, in this slice and those before
    for mutant, spare in drawn:
        one = None
        while one is None or one["status"] == "stillborn":
            if one is not None:
                if not spare:
                    break
                mutant = spare.pop(0)
            one = results.known.get(mutant.identity)
            if one is None:
                if time.monotonic() + slowest > limit or spent > arguments.total:
                    break
                one = results.add(mutant, judge.judge(mutant))
                slowest = max(slowest, one["seconds"] / 2)
                print(f"{one['status']:9} {one['seconds']:5.1f} s  {one['source']}:{one['line']} {one['operator']}"
                      f"  {one['by']}", flush=True)
            spent += one["seconds"]
        if one is not None and one["status"] != "stillborn":
            judged.append(one)
    seen = {one["identity"] for one in judged}
    unseen = 0 if arguments.sample else sum(mutant.identity not in seen for mutant, _ in argued)
    text, survivors = report(judged, len(drawn), unseen, equivalents)
    (folder / "report.txt").write_text(text + "\n")
    print(text)
    if survivors:
        return 1
    if len(judged) + unseen < len(drawn) and not arguments.sample:
        print("mutation: not finished; run it again to go on")
        return UNFINISHED
    return 0


if __name__ == "__main__":
    sys.exit(main())
