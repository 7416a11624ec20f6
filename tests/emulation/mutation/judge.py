"""Which tests a mutant is judged by, and the judgement."""

import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from operators import Mutant
from workplace import BuildFailed, Workplace, run_tests

REDUCER = "framework/comm/gradient_reducer.cpp"

# Suites of tests/backend beyond those whose name begins like the source's: what else its kernels take part in.
FURTHER_SUITES = {
    "elementwise": ["Accumulation"],
    "norm": ["Moments", "Activation"],
    "residual": ["Moments"],
    "stream_mix": ["StreamValues"],
}


@dataclass
class Judgement:
    status: str  # killed, survived, or stillborn: does not compile
    by: str = ""
    seconds: float = 0
    evidence: str = field(default="", repr=False)


class Judge:
    def __init__(self, place: Workplace):
        self.place = place
        self._suites: list[str] | None = None
        self._limits: dict[str, float | None] = {}

    def suites(self) -> list[str]:
        """Suites of the op tests that run on the emulated device."""
        if self._suites is None:
            listed = subprocess.run([self._op_tests(), "--gtest_list_tests"], env=_environment(), check=True, text=True,
                                    capture_output=True).stdout
            found = re.findall(r"^(?:\w+/)?(\w+)\.", listed, re.MULTILINE)
            self._suites = sorted(set(found))
        return self._suites

    def filter_of(self, source: str) -> str:
        """The suites whose name begins with the first words of the source's."""
        words = Path(source).stem.split("_")
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
        plugin = self._plugin(mutant, "plumb_cuda_emulated", "plumb_cuda_emulated", "plugin")
        tests = self.filter_of(mutant.source)
        steps = [(f"op tests, {order}", self._op_tests(), plugin, tests, order) for order in ("forward", "reverse")]
        if mutant.operator == "deleted barrier":
            races = self._plugin(mutant, "emulation_races_plugin", "emulation_races_kernels", "races")
            # Shapes of the op tests that say the same and take minutes under the thread sanitizer.
            steps.append(("thread sanitizer", (self.place.build / "races/emulation_races").as_posix(), races, tests,
                          "forward"))
        steps.append(("all op tests", self._op_tests(), plugin, "*", "random:1"))
        for name, program, folder, chosen, order in steps:
            environment = _environment(PLUMB_PLUGIN_DIR=folder.as_posix(), PLUMB_EMULATION_THREADS=order)
            words = [program, "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={chosen}"]
            limit = self._limit_of(name + chosen, words, _environment(PLUMB_EMULATION_THREADS=order),
                                   needed=chosen != "*")
            if limit is None:
                continue
            result, output = run_tests(words, limit, environment)
            if result != "passed":
                return Judgement("killed", f"{name}: {result}", evidence=output[-2000:])
        return Judgement("survived")

    def _plugin(self, mutant: Mutant, target: str, object_target: str, folder: str) -> Path:
        changed = self.place.compile(mutant.source, mutant.text, object_target)
        return self.place.link(target, mutant.source, changed, object_target, self.place.folder / folder).parent

    def _judge_reducer(self, mutant: Mutant) -> Judgement:
        changed = self.place.compile(mutant.source, mutant.text, "plumb_comm")
        steps = [("test_comm", 1, "GradientReducer*:*Reducer*:*Bucket*"), ("test_comm_2_ranks", 2, "*"),
                 ("test_comm_2_ranks", 3, "*")]
        for target, ranks, chosen in steps:
            program = self.place.link(target, mutant.source, changed, "plumb_comm", self.place.folder / "reducer")
            words = [program.as_posix(), "--gtest_brief=1", f"--gtest_filter={chosen}"]
            if ranks > 1:
                words = ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none"] + words
            unchanged = [word.replace(program.as_posix(), (self.place.build / "tests/comm" / target).as_posix())
                         for word in words]
            limit = self._limit_of(f"{target} {ranks}", unchanged, _environment())
            result, output = run_tests(words, limit, _environment())
            if result != "passed":
                return Judgement("killed", f"{target} on {ranks} ranks: {result}", evidence=output[-2000:])
        return Judgement("survived")

    def _limit_of(self, name: str, words: list[str], environment: dict[str, str], needed=True) -> float | None:
        """Several times what the unchanged program takes, which must pass; None if it need not and does not."""
        if name not in self._limits:
            begin = time.monotonic()
            result, output = run_tests(words, 400, environment)
            if result != "passed" and not needed:
                print(f"mutation: left out, because they do not pass without a mutation ({result}): {name}")
                self._limits[name] = None
            elif result != "passed":
                raise SystemExit(f"mutation: without any mutation the tests do not pass ({result}): {' '.join(words)}\n"
                                 f"{output[-2000:]}")
            else:
                self._limits[name] = 10 + 5 * (time.monotonic() - begin)
        return self._limits[name]


def _environment(**further: str) -> dict[str, str]:
    return {"PLUMB_TEST_BACKENDS": "cuda-emulated", "OMP_NUM_THREADS": "1",
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1 halt_on_error=1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} | further
