#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What lint and rfc-map must find and what test-all must count. Prints TAP."""
import contextlib
import glob
import importlib.machinery
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"


def load(name):
    sys.dont_write_bytecode = True
    path = os.path.join(ROOT, "scripts", name)
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


lint = load("lint")
test_all = load("test-all")
rfc_map = load("rfc-map")

# A row per fault: the check, the file it is planted in, and its text; the
# second text is the nearest one that is allowed.
FAULTS = [
    ("check_licence", "src/base/x.c", "int x;\n", SPDX),
    ("check_includes", "src/base/x.c", '#include "crypto/hash.h"\n',
     '#include "base/buf.h"\n'),
    ("check_includes", "src/server/x.c", "#include <sotto/mls.h>\n",
     '#include "proto/frame.h"\n'),
    ("check_includes", "src/client/x.c", '#include "mls/tree.h"\n',
     "#include <sotto/mls.h>\n"),
    ("check_includes", "src/mls/x.c", "#include <sodium.h>\n",
     '#include "crypto/hash.h"\n'),
    ("check_includes", "src/client/x.c", "#include <openssl/evp.h>\n",
     "#include <cbor.h>\n"),
    ("check_includes", "src/mls/x.c", '#include "tree.h"\n',
     '#include "mls/tree.h"\n'),
    ("check_includes", "src/client/x.c", "#include <pthread.h>\n",
     "#include <string.h>\n"),
    ("check_meson", "src/base/meson.build", "dependencies: sys_dep\n",
     "dependencies: base_dep\n"),
    ("check_meson", "src/mls/meson.build", "dependencies: [sodium_dep]\n",
     "dependencies: [crypto_dep]\n"),
    ("check_meson", "src/sys/meson.build", "x = dependency('libssl')\n",
     "x = declare_dependency(link_with: y)\n"),
    ("check_options", "src/cli/sotto.c", '    {"fly", NULL, NULL, "x",\n',
     None),
    ("check_options", "src/server/commands.c",
     '    {"fly", command_fly, "x"},\n', None),
    ("check_labels", "src/proto/x.c", 'f("sotto novelty v1");\n',
     'f("sotto: version 1");\n'),
    ("check_banned", "src/mls/x.c", "int f(void) { return rand(); }\n",
     "int f(void) { return r.rand; } /* rand() */\n"),
    ("check_banned", "src/mls/x.c", "x = malloc(3);\n", "x = mem_alloc(3);\n"),
    ("check_banned", "src/mls/x.c", "memcmp(a, b, 3);\n",
     "bytes_equal(a, b); f(\"memcmp(\");\n"),
    ("check_banned", "src/mls/x.c", "printf(s);\n", "snprintf(s, 3, t);\n"),
    ("check_banned", "tests/x.c", "strcpy(a, b);\n", "memcmp(a, b, 3);\n"),
    ("check_banned", "src/sys/x.c", "pthread_create(&t, 0, f, 0);\n",
     "pthread_sigmask(SIG_BLOCK, &set, NULL);\n"),
    ("check_comments", "src/base/x.c", "int x; // why\n",
     'f("http://x"); /* // */\n'),
    ("check_sizes", "src/base/x.c", "\n" * 1001, "\n" * 1000),
    ("check_sqlite", "meson.build", "dependency('sqlite" "3')\n",
     "# never -lsqlite" "3\n"),
    ("check_places", "scripts/x", "http://deb." "debian.org/debian\n",
     "https://www.debian.org\n"),
    ("check_places", "docs/x.md", "see /ro" "ot/x\n", "see tests/work/x\n"),
    ("check_map", "ARCHITECTURE.md", "\n" * 200, "\n" * 199),
    ("check_map", "ARCHITECTURE.md", "`src/none.c`\n", "`src/here.c`\n"),
    ("check_links", "README.md", "[x](src/none.c)\n", "[x](src/here.c)\n"),
    ("check_man", "man/x.1", ".Dd today\n.Foo\n", None),
    ("check_scripts", "scripts/x", "#!/bin/sh\nrm $1/*\ncd $x\n",
     '#!/bin/sh\nrm "$1"/*\n'),
    ("check_format", "src/base/x.c", "int  x;\n", "int x;\n"),
]

# Meson's result, the test's output, and what it must add up to.
COUNTS = [
    ("OK", "1..2\nok 1 - a\nok 2 - b\n", (2, 0, 0)),
    ("FAIL", "1..2\nok 1 - a\nnot ok 2 - b\n", (1, 1, 0)),
    ("OK", "1..2\nok 1 - a\nok 2 - b # SKIP why\n", (1, 0, 1)),
    ("SKIP", "1..0 # SKIP no data\n", (0, 0, 1)),
    ("ERROR", "1..0 # SKIP no data\n", (0, 1, 0)),
    ("ERROR", "1..3\nok 1 - a\n", (1, 2, 0)),
    ("ERROR", "1..1\nok 1 - a\n==1==ERROR: AddressSanitizer\n", (1, 1, 0)),
    ("TIMEOUT", "1..1\n", (0, 1, 0)),
    ("TIMEOUT", "", (0, 1, 0)),
    ("OK", "3 inputs of corpus\n", (1, 0, 0)),
    ("FAIL", "", (0, 1, 0)),
    ("OK", "1..1\nok 1 - a: 7 executed, 0 failed\n", (1, 0, 0)),
]


def findings(check, path, text):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in ((path, text), ("src/here.c", SPDX),
                              (".clang-format",
                               open(os.path.join(ROOT, ".clang-format"),
                                    encoding="utf-8").read())):
            full = os.path.join(folder, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(content)
        subprocess.run(["git", "init", "-q", folder], check=True)
        lint.ROOT = folder
        src = lint.Source([path])
        return list(getattr(lint, check)(src))


def lint_finds_each_planted_fault():
    for check, path, bad, _ in FAULTS:
        assert findings(check, path, bad), f"{check} misses {bad!r}"


def lint_allows_the_nearest_right_text():
    for check, path, _, good in FAULTS:
        found = [] if good is None else findings(check, path, good)
        assert not found, f"{check} rejects {good!r}: {found}"


def test_all_counts_each_case_once():
    for result, text, want in COUNTS:
        total = test_all.Sum()
        test_all.add({"name": "t", "result": result, "stdout": text}, "gcc",
                     total)
        got = (total.passed, total.failed, total.skipped)
        assert got == want, f"{result} {text!r}: {got}, not {want}"


# A map of two rules, and the faults to plant in it: what is replaced, by what,
# and what must be said.
MAP = """## 7 Trees

| rule | held by | shown by |
| --- | --- | --- |
| 7.1: leaves ascend | `leaf_read` `leaf_check` | `leaf_test/leaves_ascend` |
| 7.2: the vectors are right | `leaf_read` | `mls_vectors/welcome` |
| clocks are right | caller | caller |
| 7.2: keys are new | `leaf_check` draws them | none: they are random |
"""
MAP_RULES = {"7": 1, "7.1": 1, "7.2": 2}
MAP_FILES = {
    "src/mls/leaf.c": "static enum err leaf_read(struct reader *r)\n{\n}\n"
                      "enum err leaf_check(const struct leaf *l,\n"
                      "                    int n)\n{\n    called(n);\n}\n",
    "src/mls/leaf_test.c": "static void leaves_ascend(void) {}\n"
                           "static void not_listed(void) {}\n"
                           "    TEST(leaves_ascend),\n",
    "tests/vectors/mls_x.c": '    {"welcome", "welcome", run},\n',
}
MAP_FAULTS = [
    ("`leaf_check` |", "`leaf_write` |", ":5: no function leaf_write"),
    ("`leaf_check` |", "`called` |", ":5: no function called"),
    ("leaf_test/leaves_ascend", "leaf_test/leaves", ":5: no test leaf_test/l"),
    ("leaf_test/leaves_ascend", "leaf_test/not_listed", ":5: no test"),
    ("leaf_test/leaves_ascend", "other_test/leaves_ascend", ":5: no test"),
    ("mls_vectors/welcome", "mls_vectors/none", ":6: no test mls_vectors/none"),
    ("| `mls_vectors/welcome` |", "| |", ":6: three cells, none empty"),
    ("| `mls_vectors/welcome` |", "|", ":6: three cells, none empty"),
    ("| none: they are random |", "| none |", ":8: no test, and no reason"),
    ("`leaf_check` draws them", "none", ":8: no function, and no reason"),
    ("| caller | caller |", "| none | none |", ":7: no function, and no rea"),
    (MAP.splitlines()[4] + "\n", "", ": section 7.1 has 0 rules, not 1"),
    (MAP.splitlines()[7], "", ": section 7.2 has 1 rules, not 2"),
    (MAP.splitlines()[6] + "\n", "", ": section 7 has 0 rules, not 1"),
    ("| 7.1: leaves", "| 7.9: leaves", ":5: section 7.9 is none of RULES"),
    (MAP, "", ": section 7.2 has 0 rules, not 2"),
]


def map_says(text):
    """What rfc-map prints of a tree with that map, and its status."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {**MAP_FILES, rfc_map.DOC: text}.items():
            full = os.path.join(folder, name)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(content)
        out = io.StringIO()
        rfc_map.ROOT, rfc_map.RULES = folder, MAP_RULES
        with contextlib.redirect_stdout(out):
            status = rfc_map.main()
        return out.getvalue(), status


def rfc_map_finds_each_planted_fault():
    said, status = map_says(MAP)
    assert (said, status) == ("", 0), said
    for old, new, want in MAP_FAULTS:
        assert MAP.count(old) == 1, old
        said, status = map_says(MAP.replace(old, new))
        assert status == 1 and rfc_map.DOC + want in said, \
            f"{old!r}, {new!r}: {status}, {said!r}"


def rfc_map_is_content_with_the_map_that_we_have():
    done = subprocess.run([os.path.join(ROOT, "scripts", "rfc-map")],
                          check=False, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, b""), done


def snapshot(folder):
    return [(path, st.st_mtime_ns, st.st_size)
            for path in sorted(glob.glob(folder + "/**", recursive=True))
            for st in [os.lstat(path)]]


def deps_does_nothing_when_nothing_is_missing():
    deps = os.path.join(ROOT, ".deps")
    if not os.path.exists(os.path.join(deps, "stamp")):
        raise unittest.SkipTest("scripts/deps has not run here")
    with tempfile.TemporaryDirectory() as folder:
        calls = os.path.join(folder, "calls")
        for name in ("apt-get", "apt-cache", "sudo", "gcc", "curl", "mkdir"):
            fake = os.path.join(folder, name)
            with open(fake, "w", encoding="utf-8") as f:
                f.write(f'#!/bin/sh\necho "$0 $*" >>{calls}\nexit 1\n')
            os.chmod(fake, 0o755)
        env = dict(os.environ, PATH=folder + ":" + os.environ["PATH"])
        before = snapshot(deps)
        done = subprocess.run([os.path.join(ROOT, "scripts", "deps"), "--dev"],
                              env=env, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert not os.path.exists(calls), open(calls, encoding="utf-8").read()
        assert (done.returncode, done.stdout) == (0, b""), done
        assert snapshot(deps) == before, "it changed .deps"


TESTS = [lint_finds_each_planted_fault, lint_allows_the_nearest_right_text,
         test_all_counts_each_case_once, rfc_map_finds_each_planted_fault,
         rfc_map_is_content_with_the_map_that_we_have,
         deps_does_nothing_when_nothing_is_missing]


def main():
    print(f"1..{len(TESTS)}")
    failed = 0
    for n, test in enumerate(TESTS, 1):
        noise = io.StringIO()
        try:
            with contextlib.redirect_stdout(noise):
                test()
            print(f"ok {n} - {test.__name__}")
        except unittest.SkipTest as e:
            print(f"ok {n} - {test.__name__} # SKIP {e}")
        except AssertionError as e:
            failed += 1
            print(f"# {e}\nnot ok {n} - {test.__name__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
