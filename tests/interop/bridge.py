# SPDX-License-Identifier: Apache-2.0
"""A client of the library behind a pipe, for tests in Python."""
import json
import subprocess


class Refused(Exception):
    """The bridge answered with an error."""


class Bridge:
    def __init__(self, program):
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def raw(self, line):
        """The answer to one line of bytes."""
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __call__(self, *words):
        """Bytes go as hex, the rest as it is written."""
        line = " ".join((w.hex() or "-") if isinstance(w, bytes) else str(w)
                        for w in words)
        answer = self.raw(line.encode())
        if "error" in answer:
            raise Refused(f"{words[0]}: {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=60)
