#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The installed header stands alone, in C and in C++, and says what each
function does. Prints TAP.

usage: header_test.py HEADER
"""
import os
import shutil
import subprocess
import sys
import tempfile

import tap

STRICT = ["-fsyntax-only", "-Wall", "-Wextra", "-pedantic-errors", "-Werror"]
COMPILERS = [
    ("gcc", ["-x", "c", "-std=c17"]),
    ("clang-19", ["-x", "c", "-std=c17"]),
    ("clang-19", ["-x", "c++", "-std=c++17"]),  # its C++ needs no package
]


def compiles(compiler, options, header):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "alone")
        with open(source, "w", encoding="utf-8") as f:
            # twice, since two others may both include it
            f.write(f'#include "{header}"\n#include "{header}"\n')
        parent = os.path.dirname(os.path.dirname(header))
        return subprocess.run([compiler, *options, *STRICT, "-I", parent,
                               source],
                              check=False).returncode == 0


def undocumented(header):
    """Public functions with no comment on the line above."""
    with open(header, encoding="utf-8") as f:
        lines = f.read().splitlines()
    return [f"{n}: {line}" for n, line in enumerate(lines)
            if line.startswith("SOTTO_API ") and
            not lines[n - 1].endswith("*/")]


def cases(header):
    with tempfile.NamedTemporaryFile("w", suffix=".h") as control:
        control.write("SOTTO_API void f(size_t n);\n\n"
                      "SOTTO_API void g(bool yes);\n")
        control.flush()
        for compiler, options in COMPILERS:
            what = f"{compiler} {options[-1]}"
            if shutil.which(compiler) is None:
                yield True, f"{what} # SKIP no {compiler}"
                continue
            yield compiles(compiler, options, header), f"{what} takes it alone"
            yield not compiles(compiler, options, control.name), \
                f"{what} refuses the control"
        missing = undocumented(header)
        yield not missing, "each function has its comment" + \
            "".join(f"\n# {line}" for line in missing)
        yield len(undocumented(control.name)) == 2, "the control has none"


if __name__ == "__main__":
    sys.exit(tap.run(cases(os.path.abspath(sys.argv[1]))))
