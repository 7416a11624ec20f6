"""Mutants of C++ sources that clang-format has laid out: one small change each, of the kinds that people make."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`text` is the whole changed source; `line` counts from 1; before and after are that line, stripped. `repetition`
    counts the mutants of the source before it that say the same."""

    source: str
    operator: str
    line: int
    before: str
    after: str
    text: str
    repetition: int

    def place_in_draw(self, seed: int) -> str:
        """What mutants are sorted by for a draw. It does not depend on the rest of the source, so that a change of one
        line leaves the draw nearly as it was."""
        whole = f"{seed}\0{self.source}\0{self.operator}\0{self.before}\0{self.after}\0{self.repetition}"
        return hashlib.sha256(whole.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Changes when the source does, so that results of another version are not taken for this one's."""
        whole = f"{self.source}\0{self.operator}\0{self.line}\0{self.text}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def blank_out(text: str) -> str:
    """The text with comments, literals of characters and strings, and preprocessor lines as spaces."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Za-z_])\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*',
        re.DOTALL | re.MULTILINE)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def _end_of_bracket(code: str, start: int) -> int:
    """The place after the bracket that closes the one at `start`."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    open_brackets = []
    for at in range(start, len(code)):
        if code[at] in pairs:
            open_brackets.append(pairs[code[at]])
        elif open_brackets and code[at] == open_brackets[-1]:
            open_brackets.pop()
            if not open_brackets:
                return at + 1
    return len(code)


_PRIMARY = re.compile(r"-?(?:[A-Za-z_][\w]*(?:::\w+)*(?:<[\w:, ]*>)?|[0-9][\w.']*(?:[eEpP][-+]?[0-9]+\w*)?)")


def end_of_operand(code: str, start: int) -> int:
    """The end of the operand of * or / at `start`: a name, literal or bracket with what is called or indexed."""
    if start < len(code) and code[start] == "(":
        at = _end_of_bracket(code, start)
    else:
        match = _PRIMARY.match(code, start)
        if not match:
            return start
        at = match.end()
    while at < len(code):
        if code[at] in "([{":
            at = _end_of_bracket(code, at)
        elif match := re.compile(r"(?:\.|->)\w+").match(code, at):
            at = match.end()
        else:
            break
    return at


def _swaps(code: str, pattern: str, replacements: dict[str, str]):
    for match in re.finditer(pattern, code):
        yield match.start(1), match.end(1), replacements[match.group(1)]


def comparison_boundaries(code: str):
    # Spaces on both sides: template brackets have none.
    yield from _swaps(code, r"(?<= )(<=|>=|<|>|==|!=)(?= )",
                      {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="})


def plus_and_minus(code: str):
    yield from _swaps(code, r"(?<= )(\+=|-=|\+|-)(?= )", {"+": "-", "-": "+", "+=": "-=", "-=": "+="})


def deleted_barriers(code: str):
    barrier = r"(?:\w+::)?(?:__syncthreads|__syncwarp|copy_async_wait<[^>]*>|copy_async_commit)"
    for match in re.finditer(rf"(?<![\w:]){barrier}\([^()]*\);", code):
        yield match.start(), match.end(), ";"


def bounds_and_strides(code: str):
    # The right side of < in a condition, an index, and what a row's number is multiplied by.
    for match in re.finditer(r"(?<= )<=? ([A-Za-z_][\w.]*)(?=[;) ])", code):
        yield match.start(1), match.end(1), f"{match.group(1)} - 1"
    # A constant between brackets is the size of an array: one more changes nothing.
    for match in re.finditer(r"(?<=\w)\[(?!k[A-Z]\w*\])([A-Za-z_]\w*(?: [-+*/] \w+)*)\](?! ?[{(])", code):
        yield match.start(1), match.end(1), f"{match.group(1)} + 1"
    for match in re.finditer(r"\* (\w*stride\w*)\b", code):
        yield match.start(1), match.end(1), f"({match.group(1)} + 1)"


def minima_and_maxima(code: str):
    pairs = {"fminf": "fmaxf", "fmaxf": "fminf", "fmin": "fmax", "fmax": "fmin", "min": "max", "max": "min"}
    yield from _swaps(code, r"\b(fminf|fmaxf|fmin|fmax|min|max)(?=\(|<\w)", pairs)


def constants(code: str):
    # Not in names, not the bit width of a type, not what follows a bracket of a template or array size of one.
    number = r"(?<![\w.'])([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)([fFuUlL]*)(?![\w.'])"
    for match in re.finditer(number, code):
        digits, suffix = match.group(1), match.group(2)
        if re.fullmatch(r"[0-9]+", digits):
            changed = "1" if digits == "0" else "2" if digits == "1" else str(int(digits) - 1)
        else:
            changed = "0.5" if float(digits) == 0 else repr(float(digits) * 2)
        yield match.start(), match.end(), changed + suffix


def dropped_factors(code: str):
    for match in re.finditer(r" [*/] (?=[\w(-])", code):
        end = end_of_operand(code, match.end())
        if end > match.end():
            yield match.start(), end, ""


def deleted_waits_and_collectives(code: str):
    name = (r"(?:wait|record|synchronize|start_all_reduce|all_reduce|start_reduce_scatter|reduce_scatter|"
            r"start_all_gather|all_gather)")
    for match in re.finditer(rf"(?<=[ \n])((?:[\w\[\]]+ = )?\w+(?:\.|->){name}\()", code):
        opening = code.index("(", match.end() - 1)
        end = _end_of_bracket(code, opening)
        if code[end:end + 1] == ";":
            yield match.start(), end + 1, ";"


KERNEL_OPERATORS = {
    "comparison boundary": comparison_boundaries,
    "plus and minus": plus_and_minus,
    "deleted barrier": deleted_barriers,
    "bound or stride": bounds_and_strides,
    "minimum and maximum": minima_and_maxima,
    "constant": constants,
    "dropped factor": dropped_factors,
}
HOST_OPERATORS = KERNEL_OPERATORS | {"deleted wait or collective": deleted_waits_and_collectives}


def _is_a_check(line: str) -> bool:
    """Lines without a statement that an op test could judge."""
    if "__launch_bounds__" in line:  # registers and speed
        return True
    return bool(re.match(r"\s*(static_assert|PLUMB_CHECK|template <|#|using |return 0;)", line))


def _no_dynamic_memory(code: str) -> set[int]:
    """Where a launch says that its kernel has no dynamic shared memory: a byte more changes nothing."""
    return {match.start(1) for match in re.finditer(r"dim3\([^{};]*\),\s*(0),\s*\w*stream\b", code)}


def mutants_of(source: str, text: str) -> list[Mutant]:
    """All mutants, in the order of the operators and the source. `source` is the path to say where they are from."""
    operators = HOST_OPERATORS if source.endswith(".cpp") else KERNEL_OPERATORS
    code = blank_out(text)
    lines = text.split("\n")
    found, seen, left_out = [], set(), _no_dynamic_memory(code)
    repetitions: Counter[tuple[str, str, str]] = Counter()
    for operator, places in operators.items():
        for start, end, replacement in places(code):
            number = text.count("\n", 0, start) + 1
            changed = text[:start] + replacement + text[end:]
            if _is_a_check(lines[number - 1]) or changed in seen or start in left_out:
                continue
            seen.add(changed)
            after = changed.split("\n")[number - 1].strip()
            before = lines[number - 1].strip()
            repetition = repetitions[operator, before, after]
            repetitions[operator, before, after] += 1
            found.append(Mutant(source, operator, number, before, after, changed, repetition))
    return found
