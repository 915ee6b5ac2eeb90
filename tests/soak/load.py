# SPDX-License-Identifier: Apache-2.0
"""Writers who remember what was acknowledged, a server whose processes, disk
and clock can be spoilt, and the checker that compares the two."""
import hashlib
import os
import random
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "web")]
# pylint: disable=wrong-import-position
import peer

CHANNEL_CREATE, ATTACH, READ, APPEND = 36, 37, 38, 39
OK, BUSY, NOTFOUND = 0, 2, 6
APPLICATION = 1
WRITERS = 24
SHARED = 4  # so many of the writers share one channel
BODY = 1024
PACE_S = 1 / 75  # a writer's: below what a server lets one do in a minute
ANSWER_S = 10
DAY_S = 86400
STORE = os.environ.get("SOTTO_TEST_STORE")  # of scripts/with-postgres


def body_of(text, size=BODY):
    """An MLS private message, as far as the server looks (docs/protocol.md)."""
    head = (struct.pack(">HH", 1, 2) + peer.vec(b"group") +
            struct.pack(">QB", 1, APPLICATION) + peer.vec(b"") +
            peer.vec(b"sender data"))
    return head + long_vec(text.ljust(size, b"."))


class Gone(Exception):
    """The connection, not the server's answer."""


class Connection:
    """Frames over TLS, one request at a time; events are counted."""

    def __init__(self, port, source=""):
        try:
            raw = socket.create_connection(
                ("127.0.0.1", port), ANSWER_S,
                (source, 0) if source else None)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["sotto/1"])
            self.sock = context.wrap_socket(raw, server_hostname="localhost")
        except OSError as e:
            raise Gone from e
        self.wire = b""
        self.number = 0
        self.events = 0
        greeting = self.request(peer.hello())
        self.day = int.from_bytes(greeting[69:77], "big") // 86400
        self.bits = greeting[77]

    def close(self):
        self.sock.close()

    def frame(self):
        while (len(self.wire) < 4 or
               len(self.wire) < 4 + int.from_bytes(self.wire[:4], "big")):
            try:
                part = self.sock.recv(1 << 16)
            except OSError as e:
                raise Gone from e
            if not part:
                raise Gone
            self.wire += part
        length, kind, number = struct.unpack(">IBI", self.wire[:9])
        content, self.wire = self.wire[9:4 + length], self.wire[4 + length:]
        return kind, number, content

    def send(self, messages):
        """Requests all at once."""
        frames = b""
        for message in messages:
            self.number += 1
            frames += peer.frames(1, self.number, message)
        try:
            self.sock.sendall(frames)
        except OSError as e:
            raise Gone from e

    def request(self, message):
        """The whole answer, with its method and status."""
        self.send([message])
        parts = b""
        while True:
            kind, number, content = self.frame()
            if kind & 0x7f == 3:
                self.events += 1
            elif number == self.number:
                parts += content
                if not kind & 0x80:
                    return parts


class Channel:
    """A channel, and what its only subscription shows."""

    def __init__(self):
        self.id, self.sub, self.cap = (os.urandom(32) for _ in range(3))
        self.access = self.id + self.sub + self.cap

    def create(self, c):
        work = peer.work(peer.PURPOSE_CHANNEL, self.id, c.bits, c.day)
        return c.request(struct.pack(">H", CHANNEL_CREATE) + self.id +
                         self.sub + hashlib.sha256(self.cap).digest() + work)

    def append(self, c, writer, number, size=BODY):
        key = hashlib.sha256(b"%d %d" % (writer, number)).digest()[:16]
        return c.request(struct.pack(">H", APPEND) + self.access +
                         struct.pack(">QB", 0, APPLICATION) + key +
                         long_vec(body_of(b"%d %d;" % (writer, number), size)))

    def attach(self, c):
        return c.request(struct.pack(">H", ATTACH) + self.access)

    def reading(self, after):
        return (struct.pack(">H", READ) + self.access +
                struct.pack(">QI", after, 1 << 20))

    def read(self, c, after):
        """Entries as pairs of sequence number and text."""
        answer = c.request(self.reading(after))
        if answer[2] != OK:
            raise Gone
        data, at = open_vec(answer, 3 + 16)
        assert at == len(answer)
        at, found = 0, []
        while at < len(data):
            seq = int.from_bytes(data[at:at + 8], "big")
            body, at = open_vec(data, at + 17)
            start = len(body_of(b"")) - BODY
            found.append((seq, body[start:].partition(b";")[0].decode()))
        return found


def long_vec(data):
    if len(data) >= 16384:
        return struct.pack(">I", 0x80000000 | len(data)) + data
    return peer.vec(data)


def open_vec(data, at):
    """RFC 9420, section 2.1.2."""
    size = 1 << (data[at] >> 6)
    length = (int.from_bytes(data[at:at + size], "big") &
              ((1 << (8 * size - 2)) - 1))
    return data[at + size:at + size + length], at + size + length


class Server:
    """A sottod that a service manager starts again when it ends."""

    def __init__(self, build, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="sotto-soak-")
        self.options = options
        self.build = build
        self.port = 0
        self.process = None
        self.wall = os.path.join(self.folder.name, "wall")
        self.ahead = 0  # days that its clock is ahead
        self.set_clock(0)
        self.start()

    def start(self):
        more = ("--store", STORE) if STORE else ()
        self.process = subprocess.Popen(
            [os.path.join(self.build, "src/server/sottod"), "--config", "",
             "--data", os.path.join(self.folder.name, "data"), "--listen",
             f"127.0.0.1:{self.port}", "--pow-bits", "1", "--log-level",
             "error", *more, *self.options],
            env={**os.environ, "SOAK_WALL": self.wall, "LD_PRELOAD":
                 os.path.abspath(os.path.join(self.build,
                                              "tests/soak/wall.so"))},
            stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.port = int(line.rpartition(":")[2])
                break
        else:
            raise RuntimeError("the server does not start")

    def set_clock(self, days):
        """Its wall clock jumps; the one that timers go by does not."""
        self.ahead = days
        with open(self.wall, "r+b" if os.path.exists(self.wall) else "wb",
                  buffering=0) as f:
            f.write(struct.pack("=q", days * DAY_S))

    def pids(self):
        pid = self.process.pid
        try:
            with open(f"/proc/{pid}/task/{pid}/children",
                      encoding="ascii") as f:
                return [pid] + [int(x) for x in f.read().split()]
        except OSError:
            return []

    def memory(self):
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/status", encoding="ascii") as f:
                    for line in f:
                        if line.startswith("RssAnon:"):
                            total += int(line.split()[1]) << 10
            except OSError:
                pass
        return total

    def kill_one(self, chance):
        pids = self.pids()
        if pids:
            os.kill(chance.choice(pids), signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.start()

    def fill_disk(self, full):
        """As the store sees it: no file may grow any more."""
        size = 1 << 12 if full else resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE,
                         (size, resource.RLIM_INFINITY))

    def end(self):
        self.process.terminate()
        status = self.process.wait(peer.PATIENCE)
        self.process.stdout.close()
        self.folder.cleanup()
        return status


class Writer(threading.Thread):
    """Appends until told to stop, and remembers what was acknowledged."""

    def __init__(self, number, server, channel, pace=PACE_S):
        super().__init__(daemon=True)
        self.number, self.server, self.channel = number, server, channel
        self.pace = pace
        self.stopping = threading.Event()
        self.acknowledged = {}  # own number: sequence number
        self.days = {}  # own number: the least that the clock was ahead then
        self.tried = 0
        self.busy = 0
        self.refused = None
        self.times = []

    def run(self):
        c = None
        while not self.stopping.is_set() and self.refused is None:
            try:
                c = c or Connection(self.server.port)
                self.append(c)
            except Gone:
                c = None
                time.sleep(random.random() * 0.2)

    def append(self, c):
        """The next, or the last again."""
        self.tried = max(self.tried, len(self.acknowledged))
        start = time.monotonic()
        day = self.server.ahead
        answer = self.channel.append(c, self.number, self.tried)
        took = time.monotonic() - start
        if answer[2] == OK:
            self.times.append(took)
            self.days[self.tried] = min(day, self.server.ahead)
            self.acknowledged[self.tried] = int.from_bytes(answer[3:], "big")
        elif answer[2] == BUSY:
            self.busy += 1
            time.sleep(0.05)
        else:
            self.refused = answer[2]
        self.stopping.wait(max(0.0, self.pace - took))


def read_all(server, channel):
    found, c = [], Connection(server.port)
    while part := channel.read(c, found[-1][0] if found else 0):
        found += part
    return found


def check(server, writers, old=-1 << 31):
    """The faults that the log has: all that was acknowledged, once, in order.
    What was acknowledged before day `old` may be gone, from the beginning on."""
    faults = []
    for channel in {w.channel for w in writers}:
        log = read_all(server, channel)
        first = log[0][0] if log else 1
        if [seq for seq, _ in log] != list(range(first, first + len(log))):
            faults.append("sequence numbers have a gap")
        place = {}
        for seq, text in log:
            if text in place:
                faults.append(f"{text} is there twice")
            place[text] = seq
        for w in (w for w in writers if w.channel is channel):
            own = [int(t.split()[1]) for _, t in log
                   if t.startswith(f"{w.number} ")]
            if own != sorted(own):
                faults.append(f"entries of {w.number} are out of order")
            for n, seq in w.acknowledged.items():
                at = place.get(f"{w.number} {n}")
                if at != seq and (at is not None or w.days[n] >= old):
                    faults.append(f"{w.number} {n}: acknowledged as {seq} "
                                  f"on day {w.days[n]}, is at {at}")
            if w.refused is not None:
                faults.append(f"{w.number} was refused with {w.refused}")
    return faults


def sees_faults(server, writers):
    """A loss and a wrong place that never were."""
    w = writers[0]
    good = dict(w.acknowledged)
    seen = []
    for number, seq in ((w.tried + 1, 1), (0, good[0] + 1)):
        w.acknowledged = {**good, number: seq}
        w.days.setdefault(number, 0)
        seen.append(len(check(server, writers)))
    w.acknowledged = good
    return seen == [1, 1]


def begin(server, count=WRITERS, shared=SHARED):
    c = Connection(server.port)
    channels = [Channel() for _ in range(count - shared + 1)]
    for channel in channels:
        assert channel.create(c)[2] == OK
    writers = [Writer(i, server, channels[max(0, i - shared + 1)])
               for i in range(count)]
    for w in writers:
        w.start()
    return writers


def stop(writers):
    for w in writers:
        w.stopping.set()
    for w in writers:
        w.join()
