"""Builds one changed object and the programs around it, in a folder of its own, with the commands of the real build."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path


class BuildFailed(Exception):
    """A mutant that does not compile, or a broken build."""


class Workplace:
    def __init__(self, repository: Path, build: Path, folder: Path):
        self.repository, self.build, self.folder = repository, build, folder
        folder.mkdir(parents=True, exist_ok=True)
        commands = json.loads((build / "compile_commands.json").read_text())
        self._compile = {Path(one["output"]).as_posix() if "output" in one else self._output(one): one
                         for one in commands}
        self._links: dict[str, str] = {}

    @staticmethod
    def _output(command: dict) -> str:
        words = shlex.split(command["command"])
        return words[words.index("-o") + 1]

    def _object_of(self, source: str, target: str) -> str:
        path = (self.repository / source).as_posix()
        for output, command in self._compile.items():
            if f"/{target}.dir/" in output and command["file"] == path:
                return output
        raise BuildFailed(f"{source} is not compiled for {target}; is {self.build} configured?")

    def compile(self, source: str, text: str, unit: str, target: str) -> Path:
        """The object of `unit`, as `target` compiles it, if the content of `source` were `text`: `unit` itself or a
        header that it includes by its path from framework/."""
        words = shlex.split(self._compile[self._object_of(unit, target)]["command"])
        includes = self.folder / "include"
        copy = includes / Path(source).relative_to("framework")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
        changed_object = self.folder / f"{target}.{Path(unit).name}.o"
        words[words.index("-o") + 1] = changed_object.as_posix()
        if source == unit:
            words[words.index("-c") + 1] = copy.as_posix()
        for option in ("-MF", "-MT"):
            if option in words:
                words[words.index(option) + 1] = changed_object.as_posix() + ".d"
        compiler = next(at for at, word in enumerate(words) if not word.endswith("ccache"))
        words.insert(compiler + 1, f"-I{includes.as_posix()}")
        # What a change leaves unused is not the question; and what the sanitized tests would find need not be found
        # by chance.
        words += ["-w", "-D_GLIBCXX_ASSERTIONS"]
        self._run(words)
        return changed_object

    def changes_code(self, source: str, text: str, unit: str, target: str) -> bool:
        """Whether the machine code of `unit` is another one with `text` than with the `source` as it is."""
        original = (self.repository / source).read_text()
        return self._code(self.compile(source, text, unit, target)) != self._code(
            self.compile(source, original, unit, target))

    @staticmethod
    def _code(compiled: Path) -> str:
        listing = subprocess.run(["objdump", "-d", "-r", "--no-show-raw-insn", compiled], check=True, text=True,
                                 capture_output=True).stdout
        return listing.split("Disassembly", 1)[-1]

    def _link_command(self, target: str) -> str:
        if target not in self._links:
            lines = subprocess.run(["ninja", "-t", "commands", target], cwd=self.build, check=True, text=True,
                                   capture_output=True).stdout.strip().split("\n")
            self._links[target] = lines[-1]
        return self._links[target]

    def link(self, target: str, unit: str, changed_object: Path, object_target: str, folder: Path) -> Path:
        """`target` with the changed object in place of `unit`'s or of the one in an archive. It comes first, so that
        inline functions of a changed header are taken from it."""
        command = self._link_command(target)
        output = re.search(r" -o (\S+)", command).group(1)
        product = folder / Path(output).name
        folder.mkdir(parents=True, exist_ok=True)
        command = command.replace(f" {self._object_of(unit, object_target)}", "")
        command = command.replace(f" -o {output}", f" -o {product} {changed_object}", 1)
        self._run(["/bin/sh", "-c", command.split(" && cd ")[0]])
        return product

    def _run(self, words: list[str]) -> None:
        ended = subprocess.run(words, cwd=self.build, capture_output=True, text=True)
        if ended.returncode != 0:
            raise BuildFailed(ended.stderr[-2000:])

    def clean(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)


def run_tests(words: list[str], limit: float, environment: dict[str, str]) -> tuple[str, str]:
    """Runs a test program: ("passed", "failed" or "timed out", output). It and its children end with the limit."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               env=os.environ | environment, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return "timed out", output
    return ("passed" if process.returncode == 0 else "failed"), output
