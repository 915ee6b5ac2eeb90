# SPDX-License-Identifier: Apache-2.0
"""TAP for tests in Python."""


def run(cases):
    """Says of each pair of a truth and a text whether it holds, as it comes;
    returns the status to exit with."""
    number = failed = 0
    for good, text in cases:
        number += 1
        failed += not good
        print(f"{'' if good else 'not '}ok {number} - {text}", flush=True)
    print(f"1..{number}")
    return 1 if failed else 0
