#!/usr/bin/env python3
"""Every type of the framework and of the trainers has a namespace-wide name of its own.

Two types of one name in different source files are no error to compiler or linker, which keeps one of the two sets of
member functions (of std::vector<Name>, say) for both. Relies on the layout that clang-format gives: what stands in a
namespace is not indented.
"""
import collections
import pathlib
import re
import sys

TYPE = re.compile(r"(?:template <.*> )?(?:struct|class|enum class|enum|union) (\w+)(?: final)?(?: : [^;]*)?(?: \{|$)")
NAMESPACE = re.compile(r"namespace ?([\w:]*) ?\{$")


def types_of(text):
    """Pairs (namespace, type) that other files could mean as well."""
    names = []
    for line in text.splitlines():
        if match := NAMESPACE.match(line):
            names.append(match[1])
        elif re.match(r"\}  // namespace", line):
            names.pop()
        elif (match := TYPE.match(line)) and names and "" not in names:
            yield "::".join(names), match[1]


def clashes(files):
    places = collections.defaultdict(set)
    for path, text in files:
        for name in types_of(text):
            places[name].add(str(path))
    return {name: sorted(paths) for name, paths in places.items() if len(paths) > 1}


def self_test():
    header = "namespace plumb {\nstruct One {\n};\n}  // namespace plumb\n"
    other = "namespace plumb {\nnamespace {\nstruct One {\n};\n}  // namespace\n}  // namespace plumb\n"
    assert clashes([("a.h", header), ("b.h", header)]) == {("plumb", "One"): ["a.h", "b.h"]}
    assert clashes([("a.h", header), ("b.cpp", other)]) == {}
    assert clashes([("a.h", header), ("b.h", header.replace("plumb {", "plumb::cpu {"))]) == {}


def main():
    self_test()
    root = pathlib.Path(sys.argv[1])
    paths = [path for folder in ("framework", "trainers") for path in sorted((root / folder).rglob("*"))
             if path.suffix in (".h", ".cpp", ".cuh", ".cu")]
    found = clashes((path.relative_to(root), path.read_text()) for path in paths)
    for (namespace, name), places in found.items():
        print(f"{namespace}::{name} is defined in {' and in '.join(places)}: rename one of them")
    print(f"{len(paths)} files read, {len(found)} names with two definitions")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
