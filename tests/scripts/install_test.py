#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a developer gets of libsotto-mls: it installs, pkg-config finds it, an
example compiles, links and runs with it, and it shows its public names alone.
Prints TAP.

usage: install_test.py BUILD VERSION EXAMPLE CONTROL
  CONTROL  a library with inner names, in which the check must see them
"""
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

import tap

STRICT = ["-std=c17", "-Wall", "-Wextra", "-pedantic", "-Werror"]
SAYS = "bob reads from leaf 0: hello, bob\n"


def output(args, **more):
    return subprocess.run(args, check=True, text=True, stdout=subprocess.PIPE,
                          **more).stdout


def names(library, *options):
    """The functions and objects that a library defines for others."""
    return {line.split()[2] for line in
            output(["nm", *options, "--defined-only", library]).splitlines()
            if re.match(r"[0-9a-f]+ [A-Z] ", line)}


def declared(headers):
    """The functions that the headers mark as public."""
    text = ""
    for header in headers:
        with open(header, encoding="utf-8") as f:
            text += re.sub(r"/\*.*?\*/", "", f.read(), flags=re.DOTALL)
    return set(re.findall(r"\bSOTTO_API\b[^;(]*?\b(sotto_\w+)\s*\(", text))


class Installed:
    def __init__(self, build, folder):
        self.folder = folder
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild",
                        "--quiet", "--destdir", folder], check=True,
                       stdout=subprocess.DEVNULL)
        self.pc = self.find("pkgconfig/sotto-mls.pc")
        self.shared = self.find("libsotto-mls.so")
        self.static = self.find("libsotto-mls.a")
        self.header = self.find("sotto/mls.h")
        self.page = self.find("man3/sotto-mls.3*")

    def find(self, name):
        found = glob.glob(f"{self.folder}/**/{name}", recursive=True)
        return found[0] if found else ""

    def pkg_config(self, *args):
        env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=self.folder)
        env["PKG_CONFIG_PATH"] = os.path.dirname(self.pc)
        return shlex.split(output(["pkg-config", *args, "sotto-mls"], env=env))

    def flags(self, *args):
        """The flags, without the folder that PKG_CONFIG_SYSROOT_DIR puts before
        those of libraries that are not in it."""
        return [word for word in self.pkg_config(*args)
                if not word.startswith(("-I", "-L")) or
                os.path.isdir(word[2:])]


def runs(example, flags, libraries):
    """What the example says that is compiled with these flags, and whether it
    looks for the shared library."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "example")
        if subprocess.run(["cc", *STRICT, "-o", program, example, *flags],
                          check=False).returncode != 0:
            return "", None
        needed = output(["readelf", "--dynamic", program])
        env = dict(os.environ, LD_LIBRARY_PATH=libraries)
        return output([program], env=env), "libsotto-mls" in needed


def abi(header, example):
    """The number that the header says, as the compiler sees it."""
    text = output(["cc", "-E", "-dM", "-I",
                   os.path.dirname(os.path.dirname(header)), example])
    return re.search(r"^#define SOTTO_MLS_ABI (\d+)U$", text, re.MULTILINE)[1]


def cases(got, version, example, control):
    public = declared(glob.glob(os.path.dirname(got.header) + "/*.h"))
    libraries = os.path.dirname(got.shared)

    yield got.pkg_config("--modversion") == [version], "pkg-config finds it"
    said, needs = runs(example, got.flags("--cflags", "--libs"), libraries)
    yield said == SAYS and needs, "the example runs with the shared library"
    words = [got.static if word == "-lsotto-mls" else word
             for word in got.flags("--static", "--cflags", "--libs")]
    said, needs = runs(example, words, "")
    yield said == SAYS and needs is False, "and with the static one, by itself"
    soname = output(["readelf", "--dynamic", got.shared])
    yield f"[libsotto-mls.so.{abi(got.header, example)}]" in soname, \
        "its soname is the number of its interface"
    yield len(public) > 50, "the header has public functions"
    yield names(got.shared, "--dynamic") == public, \
        "the shared library shows them and nothing else"
    yield names(got.static, "--extern-only") == public, \
        "the static library shows them and nothing else"
    yield names(control, "--extern-only") - public, "the control shows more"
    yield got.page != "", "it has a man page"
    with open(got.page or os.devnull, encoding="utf-8") as f:
        page = f.read()
    missing = sorted(n for n in public if not re.search(rf"\b{n}\b", page))
    yield page and not missing, "which names each function: " + \
        " ".join(missing)


def main():
    build, version, example, control = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        return tap.run(cases(Installed(build, folder), version, example,
                             control))


if __name__ == "__main__":
    sys.exit(main())
