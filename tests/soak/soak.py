#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server under faults, with a checker that knows what was acknowledged.

Writers append to channels, each its own numbers in order, and each entry again
and again under its idempotency key until it is acknowledged. Meanwhile the
processes of the server are killed, its disk is full, and strangers do what
strangers do. At the end everything is read back: no acknowledged entry is lost,
none is there twice, none out of order, and the server's memory stayed bounded.

usage: soak.py SOTTOD [SECONDS]
"""
import concurrent.futures
import hashlib
import os
import random
import resource
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "web"),
                os.path.join(HERE, "..", "scripts")]
# pylint: disable=wrong-import-position
import peer
import tap

CHANNEL_CREATE, ATTACH, READ, APPEND = 36, 37, 38, 39
OK, BUSY, LIMIT = 0, 2, 8
APPLICATION = 1
WRITERS = 24
SHARED = 4  # so many of the writers share one channel
BODY = 1024
KILL_S = 3.0
FULL_S = 2.0
SILENT = 10000
RECONNECT = 5000
MEMORY_MAX = 512 << 20
ANSWER_S = 10


def body_of(text):
    """An MLS private message, as far as the server looks (docs/protocol.md)."""
    head = (struct.pack(">HH", 1, 2) + peer.vec(b"group") +
            struct.pack(">QB", 1, APPLICATION) + peer.vec(b"") +
            peer.vec(b"sender data"))
    return head + peer.vec(text.ljust(BODY, b"."))


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

    def request(self, message):
        """The whole answer, with its method and status."""
        self.number += 1
        try:
            self.sock.sendall(peer.frames(1, self.number, message))
        except OSError as e:
            raise Gone from e
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

    def append(self, c, writer, number):
        key = hashlib.sha256(b"%d %d" % (writer, number)).digest()[:16]
        return c.request(struct.pack(">H", APPEND) + self.access +
                         struct.pack(">QB", 0, APPLICATION) + key +
                         long_vec(body_of(b"%d %d;" % (writer, number))))

    def attach(self, c):
        return c.request(struct.pack(">H", ATTACH) + self.access)

    def read(self, c, after):
        """Entries as pairs of sequence number and text."""
        answer = c.request(struct.pack(">H", READ) + self.access +
                           struct.pack(">QI", after, 1 << 20))
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
    return struct.pack(">I", 0x80000000 | len(data)) if len(data) >= 16384 \
        else peer.vec(data)[:2] + data if len(data) >= 64 else peer.vec(data)


def open_vec(data, at):
    """RFC 9420, section 2.1.2."""
    size = 1 << (data[at] >> 6)
    length = (int.from_bytes(data[at:at + size], "big") &
              ((1 << (8 * size - 2)) - 1))
    return data[at + size:at + size + length], at + size + length


class Server:
    """A sottod that a service manager starts again when it ends."""

    def __init__(self, program, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="sotto-soak-")
        self.options = options
        self.program = program
        self.port = 0
        self.process = None
        self.start()

    def start(self):
        store = os.environ.get("SOTTO_TEST_STORE")  # of scripts/with-postgres
        more = ("--store", store) if store else ()
        self.process = subprocess.Popen(
            [self.program, "--config", "", "--data",
             os.path.join(self.folder.name, "data"), "--listen",
             f"127.0.0.1:{self.port}", "--pow-bits", "1", "--log-level",
             "error", *more, *self.options], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.port = int(line.rpartition(":")[2])
                break
        else:
            raise RuntimeError("the server does not start")

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

    def __init__(self, number, server, channel):
        super().__init__(daemon=True)
        self.number, self.server, self.channel = number, server, channel
        self.stopping = threading.Event()
        self.acknowledged = {}  # own number: sequence number
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
        answer = self.channel.append(c, self.number, self.tried)
        if answer[2] == OK:
            self.times.append(time.monotonic() - start)
            self.acknowledged[self.tried] = int.from_bytes(answer[3:], "big")
        elif answer[2] == BUSY:
            self.busy += 1
            time.sleep(0.05)
        else:
            self.refused = answer[2]


def read_all(server, channel):
    found, c = [], Connection(server.port)
    while part := channel.read(c, found[-1][0] if found else 0):
        found += part
    return found


def check(server, writers):
    """The faults that the log has: all that was acknowledged, once, in order."""
    faults = []
    for channel in {w.channel for w in writers}:
        log = read_all(server, channel)
        if [seq for seq, _ in log] != list(range(1, len(log) + 1)):
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
            faults += [f"{w.number} {n}: acknowledged as {seq}, is at "
                       f"{place.get(f'{w.number} {n}')}"
                       for n, seq in w.acknowledged.items()
                       if place.get(f"{w.number} {n}") != seq]
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


def figure(name, value, unit):
    print(f"# {name}\t{value:.2f}\t{unit}", flush=True)


def quantile(values, share):
    return sorted(values)[int((len(values) - 1) * share)]


def soak(program, seconds):
    """Kills and full disks, under load."""
    chance = random.Random(1)
    server = Server(program)
    writers = begin(server)
    end = time.monotonic() + seconds
    kills = full = 0
    highest = 0
    while time.monotonic() < end:
        time.sleep(KILL_S * (0.5 + chance.random()))
        highest = max(highest, server.memory())
        if chance.random() < 0.3 and "SOTTO_TEST_STORE" not in os.environ:
            server.fill_disk(True)
            time.sleep(FULL_S)
            server.fill_disk(False)
            full += 1
        else:
            server.kill_one(chance)
            kills += 1
    time.sleep(2)  # nobody is left waiting
    before = sum(len(w.acknowledged) for w in writers)
    time.sleep(2)
    after = sum(len(w.acknowledged) for w in writers)
    stop(writers)
    figure("soak_acknowledged", after, "1")
    figure("soak_kills", kills, "1")
    figure("soak_full_disks", full, "1")
    figure("soak_memory", highest / (1 << 20), "MiB")
    yield kills > 0 and after > before, "the server comes back each time"
    faults = check(server, writers)
    for fault in faults[:10]:
        print(f"# {fault}")
    yield not faults, "what was acknowledged is there once and in order"
    yield sees_faults(server, writers), "the checker sees planted faults"
    yield highest < MEMORY_MAX, "memory is bounded"
    yield server.end() == 0, "and it ends in good order"


def honest_p99(writers, seconds):
    for w in writers:
        w.times.clear()
    time.sleep(seconds)
    return quantile([t for w in writers for t in w.times], 0.99)


def slow_loris(server, count):
    """Connections that say little or nothing, from many networks."""
    socks = []
    for i in range(count):
        s = socket.socket()
        s.setblocking(False)
        s.setsockopt(socket.IPPROTO_IP, 24, 1)  # the port when it connects
        s.bind((f"127.0.{1 + i // 200 % 200}.{1 + i % 200}", 0))
        s.connect_ex(("127.0.0.1", server.port))
        socks.append(s)
        if i % 100 == 99:
            time.sleep(0.02)
    for i, s in enumerate(socks):
        if i % 2:
            try:
                s.send(b"\x16\x03\x01")
            except OSError:
                pass
    return socks


def strangers(program, seconds):
    """Half-open connections, a storm of reconnects, one who never reads, one
    who writes as fast as it can."""
    server = Server(program, "--connections-per-network", "18000")
    writers = begin(server, 8, 1)
    period = max(3.0, seconds / 6)
    unloaded = honest_p99(writers, period)
    socks = slow_loris(server, SILENT)
    loaded = honest_p99(writers, period)
    for s in socks:
        s.close()
    figure("honest_p99_unloaded", unloaded * 1e3, "ms")
    figure("honest_p99_half_open", loaded * 1e3, "ms")
    figure("honest_p99_half_open_ratio", loaded / unloaded, "ratio")
    yield all(w.times for w in writers), \
        f"{SILENT} half-open connections keep nobody out"

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        start = time.monotonic()
        back = list(pool.map(lambda _: again(server), range(RECONNECT)))
    figure("reconnect", RECONNECT / (time.monotonic() - start), "1/s")
    yield all(back), f"{RECONNECT} reconnects are served"
    for c in back:
        if c:
            c.close()

    deaf = Connection(server.port)
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for w in writers:
        w.channel.attach(deaf)
    before = sum(len(w.acknowledged) for w in writers)
    time.sleep(period)
    memory = server.memory()
    more = sum(len(w.acknowledged) for w in writers) - before
    figure("memory_with_deaf_reader", memory / (1 << 20), "MiB")
    figure("appends_with_deaf_reader", more / period, "1/s")
    yield memory < MEMORY_MAX and more > 0, \
        "one who never reads is only its own loss"
    stop(writers)
    faults = check(server, writers)
    for fault in faults[:10]:
        print(f"# {fault}")
    yield not faults, "and all is there once and in order"
    yield server.end() == 0, "and it ends in good order"


def again(server):
    try:
        return Connection(server.port)
    except Gone:
        return None


def greedy(program, seconds):
    """With the limits of a real server, one writer takes nothing from others."""
    server = Server(program)
    writers = begin(server, 2, 0)
    crowd = [Writer(100 + i, server, writers[0].channel) for i in range(24)]
    quiet = honest_p99(writers[1:], max(2.0, seconds / 6))
    for w in crowd:
        w.start()
    loaded = honest_p99(writers[1:], max(2.0, seconds / 6))
    stop(writers + crowd)
    figure("honest_p99_full_rate_ratio", loaded / quiet, "ratio")
    faults = check(server, writers + crowd)
    yield not faults, "a member that appends at full rate breaks nothing"
    yield server.end() == 0, "and it ends in good order"


def main():
    program = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def cases():
        yield from soak(program, seconds)
        if "SOTTO_TEST_STORE" in os.environ:
            return  # one database is one server's
        yield from strangers(program, seconds)
        yield from greedy(program, seconds)
    return tap.run(cases())


if __name__ == "__main__":
    sys.exit(main())
