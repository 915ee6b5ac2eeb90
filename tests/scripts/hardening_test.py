#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The finished programs are built hard, as readelf sees it. Prints TAP.

usage: hardening_test.py SOFT LIBRARY PROGRAM...
  SOFT     the control: a program without any of it, in which each check
           must see the fault
  LIBRARY  shows nothing but its public names
"""
import re
import subprocess
import sys


def readelf(*args):
    return subprocess.run(["readelf", "--wide", *args], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


class Elf:
    def __init__(self, path):
        self.header = readelf("--file-header", path)
        self.segments = readelf("--program-headers", path)
        self.dynamic = readelf("--dynamic", path)
        self.symbols = readelf("--dyn-syms", path)


def pie(elf):
    """is loaded at an address of chance (PIE)"""
    return re.search(r"Type:\s+DYN", elf.header)


def bind_now(elf):
    """is bound before it runs (BIND_NOW)"""
    return re.search(r"\b(BIND_NOW|NOW)\b", elf.dynamic)


def relro(elf):
    """has read-only relocations (GNU_RELRO)"""
    return "GNU_RELRO" in elf.segments


def stack(elf):
    """has no executable stack"""
    return re.search(r"GNU_STACK.*\bRW\s+0x", elf.segments)


def rpath(elf):
    """looks for libraries where the system does (no RPATH)"""
    return not re.search(r"\(R(?:UN)?PATH\)", elf.dynamic)


def protector(elf):
    """checks its stack frames"""
    return "__stack_chk_fail" in elf.symbols


def fortified(elf):
    """checks its buffers (_FORTIFY_SOURCE)"""
    return re.search(r"__\w+_chk\b", elf.symbols.replace(
        "__stack_chk_fail", ""))


CHECKS = [pie, bind_now, relro, stack, rpath, protector, fortified]


def shown(elf):
    """Names that a library defines for others."""
    for line in elf.symbols.splitlines():
        word = line.split()
        if len(word) >= 8 and word[0][:-1].isdigit() and word[6] != "UND" and \
                word[4] in ("GLOBAL", "WEAK"):
            yield word[7].split("@")[0]


def main():
    soft, library, *programs = sys.argv[1:]
    print(f"1..{len(CHECKS) * (1 + len(programs)) + 1}")
    number = failed = 0

    def case(good, text):
        nonlocal number, failed
        number += 1
        failed += not good
        print(f"{'' if good else 'not '}ok {number} - {text}")

    for path in programs:
        elf = Elf(path)
        for check in CHECKS:
            case(check(elf), f"{path.split('/')[-1]} {check.__doc__}")
    elf = Elf(soft)
    for check in CHECKS:
        case(not check(elf), f"the control is not: {check.__doc__}")
    names = list(shown(Elf(library)))
    alien = [name for name in names if not name.startswith("sotto_")]
    case(names and not alien,
         "the library shows nothing but sotto_*: " + " ".join(alien))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
