"""Which tests a mutant is judged by, and the judgement."""

import json
import random
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from operators import Mutant
from workplace import BuildFailed, Workplace, run_tests

REDUCER = "framework/comm/gradient_reducer.cpp"

# Suites of tests/backend for sources (by the beginning of their names) that have none of their own name, or more.
FURTHER_SUITES = {
    "attention": ["NotFiniteAttention"],
    "elementwise": ["AnyType"],
    "fill_all": ["ManyTensors"],
    "group_gain": ["Elementwise"],
    "hash": ["TensorHash"],
    "moments": ["NotFinite"],
    "narrow": ["HeadLoss", "Linear"],
    "norm": ["Moments"],
    "optimizer": ["Clip", "StepScalars", "ManyTensors"],
    "parameter": ["StepScalars"],
    "partial_sums": ["Norm", "HeadLoss", "Linear", "Elementwise"],
    "residual": ["Moments"],
    "scalar_bias": ["Elementwise"],
    "step_guard": ["GuardOp", "HaltedSteps"],
    "stream_mix": ["StreamValues"],
    "stream_weights": ["Sinkhorn"],
    "sum_of_squares": ["Elementwise", "ManyTensors"],
    "token_similarity": ["ManyBlocks", "Observations"],
}


# Programs beside the op tests that know a source.
FURTHER_PROGRAMS = {"head_loss": "test_backends_cuda", "head_loss_joined": "test_backends_cuda"}

# Where a program may take longer (in seconds), further orders and sanitizers see every fourth test.
LONG_LIMIT = 120


@dataclass
class Judgement:
    status: str  # killed, survived, or stillborn: does not compile
    by: str = ""
    seconds: float = 0
    evidence: str = field(default="", repr=False)


def includers(repository: Path, header: str) -> list[str]:
    """The .cu files of the backend that include it, directly or through other headers."""
    folder = repository / "framework/backends/cuda"
    texts = {path.relative_to(repository).as_posix(): path.read_text()
             for pattern in ("*.cu", "*.cuh", "device/*.cuh") for path in folder.glob(pattern)}
    reached, waiting = {header}, [header]
    while waiting:
        name = waiting.pop().removeprefix("framework/")
        for path, text in texts.items():
            if path not in reached and f'#include "{name}"' in text:
                reached.add(path)
                waiting.append(path)
    return sorted(path for path in reached if path.endswith(".cu"))


class Limits:
    """How long a program may take: several times what it takes without a mutation. Kept for later slices, while the
    build stays as it is. In another order it takes about as long, under a sanitizer a few times longer; there nothing
    is measured, and that it passes is what CTest is for."""

    SLOWER = {"op tests, reverse": 1.5, "address sanitizer": 5, "thread sanitizer": 40}

    def __init__(self, path: Path, build: Path):
        self.path = path
        newest = max((one.stat().st_mtime for one in (build / "tests/backend/test_backend",
                                                     build / "lib/libplumb_cuda_emulated.so") if one.exists()))
        kept = path.exists() and path.stat().st_mtime > newest
        self.known: dict[str, float | None] = json.loads(path.read_text()) if kept else {}

    def of(self, name: str, words: list[str], environment: dict[str, str], needed: bool) -> float | None:
        """The unchanged program must pass; None if it need not and does not."""
        if name not in self.known:
            begin = time.monotonic()
            result, output = run_tests(words, 400, environment)
            if result != "passed" and needed:
                raise SystemExit(f"mutation: without any mutation the tests do not pass ({result}): {' '.join(words)}\n"
                                 f"{output[-2000:]}")
            if result != "passed":
                print(f"mutation: left out, because they do not pass without a mutation ({result}): {name}")
            self.known[name] = 10 + 5 * (time.monotonic() - begin) if result == "passed" else None
            self.path.write_text(json.dumps(self.known))
        return self.known[name]


class Judge:
    def __init__(self, place: Workplace, sanitized: Workplace, limits: Limits):
        self.place, self.sanitized, self.limits = place, sanitized, limits
        self._suites: list[str] | None = None

    def suites(self) -> list[str]:
        """Suites of the op tests that run on the emulated device."""
        if self._suites is None:
            listed = subprocess.run([self._op_tests(), "--gtest_list_tests"], env=_environment(), check=True, text=True,
                                    capture_output=True).stdout
            found = re.findall(r"^(?:\w+/)?(\w+)\.", listed, re.MULTILINE)
            self._suites = sorted(set(found))
        return self._suites

    def filter_of(self, unit: str) -> str:
        """The suites whose name begins with the first words of the unit's, and the further ones."""
        words = Path(unit).stem.split("_")
        chosen: list[str] = []
        while words and not chosen:
            start = "".join(word.capitalize() for word in words)
            chosen = [suite for suite in self.suites() if suite.startswith(start)]
            for further in FURTHER_SUITES.get("_".join(words), []):
                chosen += [suite for suite in self.suites() if suite.startswith(further)]
            words.pop()
        return ":".join(f"*{suite}.*" for suite in chosen) or "*"

    def judge(self, mutant: Mutant) -> Judgement:
        begin = time.monotonic()
        self.place.clean()
        self.sanitized.clean()
        try:
            judge = self._judge_reducer if mutant.source == REDUCER else self._judge_kernel
            judgement = judge(mutant)
        except BuildFailed as failure:
            judgement = Judgement("stillborn", "compiler", evidence=str(failure))
        judgement.seconds = time.monotonic() - begin
        return judgement

    def _op_tests(self) -> str:
        return (self.place.build / "tests/backend/test_backend").as_posix()

    def _judge_kernel(self, mutant: Mutant) -> Judgement:
        for unit in self._units_of(mutant):
            plugin = self._plugin(self.place, mutant, unit, "plumb_cuda_emulated", "plumb_cuda_emulated_objects", unit)
            if killed := self._judge_unit(mutant, unit, plugin):
                return killed
        return (self._run_op_tests("all op tests", self._op_tests(), plugin, "*", "random:1") or
                Judgement("survived"))

    def _judge_unit(self, mutant: Mutant, unit: str, plugin: Path) -> Judgement | None:
        """By the op tests of one source that is compiled with the mutation."""
        tests = self.filter_of(unit)
        for order in ("forward", "reverse"):
            if killed := self._run_op_tests(f"op tests, {order}", self._op_tests(), plugin, tests, order):
                return killed
        if killed := self._run_further_program(mutant, unit):
            return killed
        if mutant.operator == "deleted barrier":
            races = self._plugin(self.place, mutant, unit, "emulation_races_plugin", "emulation_races_kernels", "races")
            program = (self.place.build / "races/emulation_races").as_posix()
            return self._run_op_tests("thread sanitizer", program, races, tests, "forward")
        checked = self._plugin(self.sanitized, mutant, unit, "plumb_cuda_emulated", "plumb_cuda_emulated_objects",
                               "plugin")
        program = (self.sanitized.build / "tests/backend/test_backend").as_posix()
        return self._run_op_tests("address sanitizer", program, checked, tests, "forward")

    def _run_further_program(self, mutant: Mutant, unit: str) -> Judgement | None:
        target = FURTHER_PROGRAMS.get(Path(unit).stem)
        if target is None:
            return None
        objects = "plumb_cuda_emulated_objects"
        changed = self.place.compile(mutant.source, mutant.text, unit, objects)
        program = self.place.link(target, unit, changed, objects, self.place.folder / "further").as_posix()
        unchanged = (self.place.build / "tests/backends_cuda" / target).as_posix()
        limit = self.limits.of(target, [unchanged, "--gtest_brief=1"], _environment(), needed=True)
        result, output = run_tests([program, "--gtest_brief=1", "--gtest_fail_fast"], limit, _environment())
        return None if result == "passed" else Judgement("killed", f"{target}: {result}", evidence=output[-2000:])

    def _run_op_tests(self, name: str, program: str, plugin: Path, tests: str, order: str) -> Judgement | None:
        """The judgement if they notice the mutation."""
        words = [program, "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={tests}"]
        limit = self._limit_of(name, tests, words)
        if limit is None:
            return None
        environment = _environment(PLUMB_PLUGIN_DIR=plugin.as_posix(), PLUMB_EMULATION_THREADS=order)
        if name != "op tests, forward" and limit > LONG_LIMIT:
            environment |= {"GTEST_TOTAL_SHARDS": "4", "GTEST_SHARD_INDEX": "1"}
        result, output = run_tests(words, limit, environment)
        return None if result == "passed" else Judgement("killed", f"{name}: {result}", evidence=output[-2000:])

    def _units_of(self, mutant: Mutant) -> list[str]:
        """The sources that are compiled: for a header up to three of those in whose machine code the change is to be
        seen, always the same; any one if it is in none."""
        if not mutant.source.endswith(".cuh"):
            return [mutant.source]
        units = includers(self.place.repository, mutant.source)
        if not units:
            raise BuildFailed("no .cu includes it")
        shuffled = random.Random(mutant.identity).sample(units, len(units))
        changed, objects = [], "plumb_cuda_emulated_objects"
        for unit in shuffled:
            if len(changed) < 3 and self.place.changes_code(mutant.source, mutant.text, unit, objects):
                changed.append(unit)
        return changed or shuffled[:1]

    def _limit_of(self, name: str, tests: str, words: list[str]) -> float | None:
        slower = Limits.SLOWER.get(name)
        if slower is None:
            return self.limits.of(f"{name} {tests}", words, _environment(), needed=tests != "*")
        unchanged = [self._op_tests(), *words[1:]]
        return slower * self.limits.of(f"op tests, forward {tests}", unchanged, _environment(), True)

    @staticmethod
    def _plugin(place: Workplace, mutant: Mutant, unit: str, target: str, object_target: str, folder: str) -> Path:
        changed = place.compile(mutant.source, mutant.text, unit, object_target)
        return place.link(target, unit, changed, object_target, place.folder / folder).parent

    def _judge_reducer(self, mutant: Mutant) -> Judgement:
        changed = self.place.compile(mutant.source, mutant.text, mutant.source, "plumb_comm")
        steps = [("test_comm", 1, "GradientReducer*:*Reducer*:*Bucket*"), ("test_comm_2_ranks", 2, "*"),
                 ("test_comm_2_ranks", 3, "*")]
        for target, ranks, chosen in steps:
            program = self.place.link(target, mutant.source, changed, "plumb_comm", self.place.folder / "reducer")
            words = [program.as_posix(), "--gtest_brief=1", f"--gtest_filter={chosen}"]
            if ranks > 1:
                words = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none"] + words
            unchanged = [word.replace(program.as_posix(), (self.place.build / "tests/comm" / target).as_posix())
                         for word in words]
            limit = self.limits.of(f"{target} {ranks}", unchanged, _environment(), needed=True)
            result, output = run_tests(words, limit, _environment())
            if result != "passed":
                return Judgement("killed", f"{target} on {ranks} ranks: {result}", evidence=output[-2000:])
        return Judgement("survived")


def _environment(**further: str) -> dict[str, str]:
    return {"PLUMB_TEST_BACKENDS": "cuda-emulated", "OMP_NUM_THREADS": "1", "ASAN_OPTIONS": "detect_leaks=0",
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1 halt_on_error=1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} | further
