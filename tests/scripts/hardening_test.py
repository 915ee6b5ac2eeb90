#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The finished programs are built hard, as readelf sees it. Prints TAP.

usage: hardening_test.py SOFT PROGRAM...
  SOFT  the control: a program without any of it, in which each check must see
        the fault
"""
import re
import subprocess
import sys

import tap


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


def cases(soft, programs):
    for path in programs:
        elf = Elf(path)
        for check in CHECKS:
            yield check(elf), f"{path.split('/')[-1]} {check.__doc__}"
    elf = Elf(soft)
    for check in CHECKS:
        yield not check(elf), f"the control is not: {check.__doc__}"


if __name__ == "__main__":
    sys.exit(tap.run(cases(sys.argv[1], sys.argv[2:])))
