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
        return subprocess.run([compiler, *options, *STRICT, source],
                              check=False).returncode == 0


def undocumented(header):
    """Public functions with no comment on the line above."""
    with open(header, encoding="utf-8") as f:
        lines = f.read().splitlines()
    return [f"{n}: {line}" for n, line in enumerate(lines)
            if line.startswith("SOTTO_API ") and
            not lines[n - 1].endswith("*/")]


def main():
    header = os.path.abspath(sys.argv[1])
    print(f"1..{len(COMPILERS) * 2 + 2}")
    number = failed = 0

    def case(good, text):
        nonlocal number, failed
        number += 1
        failed += not good
        print(f"{'' if good else 'not '}ok {number} - {text}")

    with tempfile.NamedTemporaryFile("w", suffix=".h") as control:
        control.write("SOTTO_API void f(size_t n);\n\n"
                      "SOTTO_API void g(bool yes);\n")
        control.flush()
        for compiler, options in COMPILERS:
            what = f"{compiler} {options[-1]}"
            if shutil.which(compiler) is None:
                number += 2
                print(f"ok {number - 1} - {what} # SKIP no {compiler}")
                print(f"ok {number} - {what} # SKIP no {compiler}")
                continue
            case(compiles(compiler, options, header), f"{what} takes it alone")
            case(not compiles(compiler, options, control.name),
                 f"{what} refuses the control")
        missing = undocumented(header)
        case(not missing, "each function has its comment" +
             "".join(f"\n# {line}" for line in missing))
        case(len(undocumented(control.name)) == 2, "the control has none")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
