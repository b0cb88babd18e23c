#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the structure of the source tree: what no compiler sees.

  scripts/tidy.py [DIRECTORY]     # prints `file:line: message` for each violation; exit code 0 or 1
  scripts/tidy.py --self-test     # shows on small examples that each rule bites

A rule is a function that takes a Source and yields (line, message). Formatting belongs to
clang-format, and what needs the meaning of the code to clang-tidy.
"""

import os
import re
import sys

SKIPPED_DIRECTORIES = {"build", "data", "__pycache__"}
CPP_SUFFIXES = (".h", ".cc", ".cu")
CHECKED_SUFFIXES = CPP_SUFFIXES + (".py", ".sh", ".cmake", "CMakeLists.txt")
LINES_MAX = 500
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
LICENCE = "SPDX-License-Identifier: Apache-2.0"

# Split, so that this file passes its own test.
BANNED_ANYWHERE = ["FIX" + "ME", "TO" + "DO", "XX" + "X", "HA" + "CK"]
BANNED_IN_CPP = ["std::endl", "using namespace std", "usleep", "std::rand"]

# The house: which headers a folder may include, besides system libraries. The first folder that
# fits counts. An entry that ends with / stands for the headers directly in that folder.
CORE = ["core/"]
PORTS = ["core/runtime/backend.h", "core/runtime/control_plane.h", "core/runtime/device.h"]
HOUSE = [
    ("core/protocol", CORE + ["core/protocol/"]),
    ("core/runtime", CORE + ["core/protocol/", "core/runtime/"]),
    ("core", CORE),
    ("collectives/kernels", CORE + ["collectives/kernels/"]),
    ("collectives/p2p", CORE + PORTS + ["collectives/kernels/"]),
    ("collectives/mpi_transport", CORE + PORTS + ["collectives/p2p/transport.h"]),
    ("collectives/mpi", CORE + PORTS + ["collectives/kernels/", "collectives/mpi_transport/"]),
    ("collectives/inproc", CORE + PORTS + ["collectives/kernels/", "collectives/p2p/transport.h"]),
    ("collectives/hierarchical", CORE + PORTS + ["collectives/kernels/",
                                                 "collectives/p2p/algorithm_table.h"]),
    ("collectives", CORE + PORTS + ["collectives/kernels/"]),
]
# Folders that see everything but these; what is in `tests` sees everything.
OPS_NEVER = ["examples/", "benchmarks/", "tests/"]
MPI_FOLDERS = ("collectives/mpi", "benchmarks/", "tests/")
# C++'s own headers have no suffix.
STANDARD_HEADER = re.compile(r"[a-z_]+$")

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Source:
    """One file, with its comments and strings blanked out in `code` where it is C++."""

    def __init__(self, path, text, public_headers=frozenset()):
        self.path = path
        self.lines = text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.is_cpp = path.endswith(CPP_SUFFIXES)
        self.is_public = path in public_headers
        self.public_headers = public_headers
        self.code = blank(text).split("\n") if self.is_cpp else self.lines
        self.includes = []
        for number, line in enumerate(self.lines, 1):
            match = INCLUDE.match(line) if self.is_cpp else None
            if match:
                self.includes.append((number, match.group(1) == "<", match.group(2)))

    def is_under(self, folder):
        return self.path.startswith(folder.rstrip("/") + "/")


def blank(text):
    """C++ with the contents of comments, strings and characters replaced by spaces."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"'
        r"|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.DOTALL)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def ringleader_path(header):
    """The repository path of a header of ours, or None."""
    return header[len("ringleader/"):] if header.startswith("ringleader/") else None


def check_licence(source):
    first = 1 if source.lines and source.lines[0].startswith("#!") else 0
    if len(source.lines) <= first or LICENCE not in source.lines[first]:
        yield first + 1, f"the first line is not `{LICENCE}`"


def check_size(source):
    if len(source.lines) > LINES_MAX:
        yield len(source.lines), f"{len(source.lines)} lines, more than {LINES_MAX}"


def check_banned_words(source):
    for number, line in enumerate(source.lines, 1):
        for word in BANNED_ANYWHERE:
            if re.search(rf"\b{word}\b", line):
                yield number, f"banned word {word}"
    if not source.is_cpp:
        return
    for number, line in enumerate(source.code, 1):
        for word in BANNED_IN_CPP:
            if re.search(rf"\b{word}\b", line):
                yield number, f"banned word {word}"


def check_white_space(source):
    for number, line in enumerate(source.lines, 1):
        if "\t" in line:
            yield number, "tab"
        if line != line.rstrip():
            yield number, "white space at the end of the line"
        if source.is_cpp and len(line) > COLUMNS_MAX:
            yield number, f"{len(line)} columns, more than {COLUMNS_MAX}"


def check_pragma_once(source):
    if re.search(r"(?<!-inl)\.h$", source.path) and "#pragma once" not in source.lines:
        yield 1, "a header without `#pragma once`"


def check_environment(source):
    if source.path == "ops/session/settings.cc" or source.is_under("tests/sim_gpu"):
        return
    for number, line in enumerate(source.code if source.is_cpp else [], 1):
        if re.search(r"\b(secure_)?getenv\b", line):
            yield number, "getenv outside ops/session/settings.cc"


def check_sleep(source):
    if source.path == "core/runtime/backoff.h" or source.is_under("tests") or source.is_under("benchmarks"):
        return
    for number, line in enumerate(source.code if source.is_cpp else [], 1):
        if re.search(r"\bsleep_(for|until)\b", line):
            yield number, "sleeping outside core/runtime/backoff.h; wait for a condition"


SCOPE = re.compile(r"\s*(template\s*<.*>\s*)?(inline\s+)?(namespace|class|struct|enum|union|extern)\b")


def functions(source):
    """Yields (first line, last line) of each outermost block whose statement has a `)`."""
    text = "\n".join("" if line.lstrip().startswith("#") else line for line in source.code)
    stack = []  # (is a function, line where its statement starts, the statement)
    statement, start, number = "", 1, 1
    for at, character in enumerate(text):
        if not statement.strip():
            start = number
        if character == "{":
            inside = any(is_function for is_function, _, _ in stack)
            is_function = not inside and ")" in statement and not SCOPE.match(statement)
            stack.append((is_function, start, statement))
            statement = ""
        elif character == "}":
            is_function, first, before = stack.pop() if stack else (False, number, "")
            following = text[at + 1:at + 200].lstrip()[:1]
            if following and following in ",{":  # one initializer of a constructor's list
                statement, start = before, first
                continue
            if is_function:
                yield first, number
            statement = ""
        elif character == ";" and statement.count("(") == statement.count(")"):
            statement = ""
        elif character == ":" and statement.strip() in ("public", "protected", "private"):
            statement = ""
        else:
            statement += character
            number += character == "\n"


def check_function_size(source):
    for first, last in functions(source) if source.is_cpp else []:
        if last - first + 1 > FUNCTION_LINES_MAX:
            yield first, f"a function of {last - first + 1} lines, more than {FUNCTION_LINES_MAX}"


def is_allowed(header, allowed):
    for entry in allowed:
        if entry.endswith("/"):
            if os.path.dirname(header) + "/" == entry:
                return True
        elif header == entry:
            return True
    return False


def allowed_for(source):
    """What the folder of the source may include of ours, or None if the house has no such list."""
    for folder, allowed in HOUSE:
        if source.is_under(folder):
            itself = "/".join(source.path.split("/")[:2]) + "/"
            return allowed + [itself]
    return None


def check_house(source):
    allowed = allowed_for(source)
    for number, is_angled, spelled in source.includes:
        header = ringleader_path(spelled)
        if header is None:
            continue
        if not is_angled:
            yield number, f'"{spelled}" is spelled <{spelled}>'
        if allowed is not None and not is_allowed(header, allowed):
            yield number, f"{os.path.dirname(source.path)} may not include <{spelled}>"
        elif source.is_under("ops") and header.startswith(tuple(OPS_NEVER)):
            yield number, f"ops may not include <{spelled}>"
        elif (source.path.startswith("examples/") and header not in source.public_headers
              and not header.startswith("ops/adapters/")):
            yield number, f"examples may not include <{spelled}>: it is not public"


def check_relative_includes(source):
    """The library's own files have one spelling; the programs may include files beside them."""
    if not source.path.startswith(("core/", "collectives/", "ops/")):
        return
    for number, is_angled, spelled in source.includes:
        if not is_angled:
            yield number, f'"{spelled}" is not spelled <ringleader/...>'


def check_mpi(source):
    if source.path.startswith(MPI_FOLDERS):
        return
    for number, _, spelled in source.includes:
        if spelled != "mpi.h":
            continue
        yield number, f"{os.path.dirname(source.path)} may not include <mpi.h>"


def check_public_headers(source):
    if not source.is_public:
        return
    for number, is_angled, spelled in source.includes:
        if is_angled and STANDARD_HEADER.match(spelled):
            continue
        if ringleader_path(spelled) not in source.public_headers:
            yield number, f"a public header may not include <{spelled}>"


RULES = [check_licence, check_size, check_banned_words, check_white_space, check_pragma_once,
         check_environment, check_sleep, check_function_size, check_house,
         check_relative_includes, check_mpi, check_public_headers]


def violations(source):
    found = {(line, message) for rule in RULES for line, message in rule(source)}
    return [f"{source.path}:{line}: {message}" for line, message in sorted(found)]


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders
                            if name not in SKIPPED_DIRECTORIES and not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith(CHECKED_SUFFIXES) and not os.path.islink(path):
                yield os.path.relpath(path, root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def public_headers_of(root, paths):
    headers = {"ringleader.h"}
    for path in paths:
        if not path.endswith("CMakeLists.txt"):
            continue
        for folder, words in re.findall(r"ringleader_module\(\w+\s+FOLDER\s+([\w/]+)([^)]*)\)",
                                        read(root, path)):
            listed = re.search(r"\bPUBLIC\b([^A-Z]*)", words)
            headers |= {f"{folder}/{name}" for name in listed.group(1).split()} if listed else set()
    return frozenset(headers | {"ops/ringleader.h"})


def main(arguments):
    if arguments == ["--self-test"]:
        import tidy_test  # beside this file
        return tidy_test.main()
    root = arguments[0] if arguments else os.path.join(os.path.dirname(__file__), "..")
    paths = list(files_of(root))
    public_headers = public_headers_of(root, paths)
    found = [line for path in paths
             for line in violations(Source(path, read(root, path), public_headers))]
    for line in found:
        print(line)
    print(f"tidy: {len(paths)} files, {len(found)} violations")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
