#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What systemd thinks of the server's unit. Prints TAP.

usage: unit_test.py UNIT
"""
import re
import shutil
import subprocess
import sys
import tempfile

import tap

EXPOSURE_MAX = 2.0
SOFT = "[Service]\nExecStart=/bin/true\n"  # the control


def exposure(path):
    out = subprocess.run(["systemd-analyze", "security", "--offline=true",
                          "--no-pager", path], check=False, text=True,
                         stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT).stdout
    found = re.search(r"exposure level for \S+: ([0-9.]+)", out)
    return float(found[1]) if found else None


def main(unit):
    if shutil.which("systemd-analyze") is None:
        print("1..0 # SKIP no systemd-analyze: install systemd")
        return 0
    with tempfile.NamedTemporaryFile("w", suffix=".service") as soft:
        soft.write(SOFT)
        soft.flush()
        control = exposure(soft.name)
    if control is None:
        print("1..0 # SKIP this systemd-analyze cannot look at a file")
        return 0
    got = exposure(unit)
    print(f"# exposure {got}, of a unit without any of it {control}")
    return tap.run([
        (got is not None and got <= EXPOSURE_MAX,
         "the unit is closed to what the server does not need"),
        (control > EXPOSURE_MAX, "a unit without any of it is told apart")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
