#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server under faults, with a checker that knows what was acknowledged.

Writers append to channels, each its own numbers in order, and each entry again
and again under its idempotency key until it is acknowledged. Meanwhile the
processes of the server are killed, its disk is full or its database restarts
and fails over, its clock jumps, and strangers do what strangers do. At the end
everything is read back: no acknowledged entry is lost, none is there twice, none
out of order, and the server's memory stayed bounded.

A clock that jumps loses nothing as long as no entry becomes older by it than the
retention, 30 days. One that jumps further ahead takes with it what is then
older: entries, idempotency keys, and whole channels that nobody has used for so
long (sottod(8)). It takes nothing younger, and what has gone stays away when the
clock is set back.

usage: soak.py BUILD [SECONDS [SCENARIO...]]

On PostgreSQL: scripts/with-postgres [--standby] soak.py BUILD SECONDS SCENARIO,
one at a time, since a database is one server's.
"""
import concurrent.futures
import os
import random
import resource
import socket
import subprocess
import sys
import time

import load

sys.path[:0] = [os.path.join(load.HERE, "..", "scripts")]
# pylint: disable=wrong-import-position
import tap

KILL_S = 3.0
FULL_S = 2.0
ROUND_S = 60.0  # in which no channel is filled to its bound
RETENTION = 30  # days
JUMPS = (-14, 15)  # days ahead, less than the retention apart
SILENT = 10000
RECONNECT = 5000
CROWD = 24  # who append at full rate
EATERS = 8  # who ask for an entry of ENTRY bytes ASKED times
ASKED = 64
ENTRY = 15 << 20
RATIO_MAX = 3.0
TRIES = 3  # of what is measured beside others' work
MEMORY_MAX = 512 << 20
COLLECTED_S = 30  # a few channels are visited in a second


def figure(name, value, unit):
    print(f"# {name}\t{value:.2f}\t{unit}", flush=True)


def quantile(values, share):
    return sorted(values)[int((len(values) - 1) * share)]


def none_of(faults):
    for fault in faults[:10]:
        print(f"# {fault}", flush=True)
    return not faults


def acknowledged(writers):
    return sum(len(w.acknowledged) for w in writers)


class Faults:
    """What happens to a server, by chance, and how often it did."""

    def __init__(self, server):
        self.server = server
        self.chance = random.Random(1)
        self.highest = 0
        self.count = {"kills": 0, "clock_jumps": 0}
        self.kinds = [self.kill, self.kill, self.kill, self.jump]
        if load.STORE:
            self.count["database_restarts"] = 0
            self.kinds += [self.restart]
        else:
            self.count["full_disks"] = 0
            self.kinds += [self.fill, self.fill]

    def kill(self):
        self.server.kill_one(self.chance)
        self.count["kills"] += 1

    def jump(self):
        self.server.set_clock(self.chance.randint(*JUMPS))
        self.count["clock_jumps"] += 1

    def fill(self):
        self.server.fill_disk(True)
        time.sleep(FULL_S)
        self.server.fill_disk(False)
        self.count["full_disks"] += 1

    def restart(self):
        """The first time, where there is a standby, it takes over."""
        subprocess.run([os.environ["SOTTO_TEST_PG_CTL"], "restart"],
                       check=True, stdout=subprocess.DEVNULL)
        self.count["database_restarts"] += 1

    def spoil(self, seconds):
        """Each kind once, and then by chance."""
        end = time.monotonic() + seconds
        kinds = list(dict.fromkeys(self.kinds))
        while time.monotonic() < end or kinds:
            time.sleep(KILL_S * (0.5 + self.chance.random()))
            self.highest = max(self.highest, self.server.memory())
            (kinds.pop() if kinds else self.chance.choice(self.kinds))()


def comes_back(writers):
    """Everybody is served again."""
    end = time.monotonic() + load.ANSWER_S * 2
    before = [len(w.acknowledged) for w in writers]
    while time.monotonic() < end:
        if all(len(w.acknowledged) > n for w, n in zip(writers, before)):
            return True
        time.sleep(0.1)
    return False


def soak(build, seconds):
    """Kills and other faults, under load."""
    server = load.Server(build)
    faults = Faults(server)
    found, back, total = [], True, 0
    end = time.monotonic() + seconds
    while total == 0 or time.monotonic() < end:
        writers = load.begin(server)
        faults.spoil(min(ROUND_S, end - time.monotonic()))
        back = comes_back(writers) and back
        load.stop(writers)
        found += load.check(server, writers)
        total += acknowledged(writers)
    figure("soak_acknowledged", total, "1")
    for name, count in faults.count.items():
        figure(f"soak_{name}", count, "1")
    figure("soak_memory", faults.highest / (1 << 20), "MiB")
    yield back, "the server comes back each time"
    yield none_of(found), "what was acknowledged is there once and in order"
    yield load.sees_faults(server, writers), "the checker sees planted faults"
    yield faults.highest < MEMORY_MAX, "memory is bounded"
    yield server.end() == 0, "and it ends in good order"


def is_gone(server, channel):
    return channel.attach(load.Connection(server.port))[2] == load.NOTFOUND


def gone_in_time(server, channels):
    end = time.monotonic() + COLLECTED_S
    while time.monotonic() < end:
        if all(is_gone(server, c) for c in channels):
            return True
        time.sleep(0.5)
    return False


def goes_on(server, writers, days, seconds):
    server.set_clock(days)
    before = acknowledged(writers)
    time.sleep(seconds)
    return acknowledged(writers) > before


def calendar(build, seconds):
    """Jumps by more than the retention, under load."""
    server = load.Server(build)
    period = max(2.0, seconds / 10)
    silent = load.begin(server, 4, 1)
    steady = load.begin(server, 8, 2)
    time.sleep(period)
    load.stop(silent)
    late = RETENTION - 10
    later = late + RETENTION - 10
    served = goes_on(server, steady, late, period)
    served = goes_on(server, steady, later, period) and served
    yield served, "appends go on while the clock jumps ahead"
    yield gone_in_time(server, [w.channel for w in silent]), \
        "a channel that nobody has used for the retention goes"
    served = goes_on(server, steady, 0, period)
    served = goes_on(server, steady, -400, period) and served
    yield served, "appends go on while the clock jumps back"
    load.stop(steady)
    yield none_of(load.check(server, steady, later - RETENTION)), \
        "what is younger than the retention is there once and in order"
    left = load.read_all(server, steady[0].channel)
    yield left[0][0] > 1, "what is older has gone"
    yield server.end() == 0, "and it ends in good order"


def honest_p99(writers, seconds):
    for w in writers:
        w.times.clear()
    time.sleep(seconds)
    assert all(w.times for w in writers), "somebody was not served"
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


def loaded_ratio(name, quiet, measure):
    """The least of some tries, until one is good."""
    least = float("inf")
    for _ in range(TRIES):
        if least > RATIO_MAX:
            least = min(least, measure() / quiet)
    figure(name, least, "ratio")
    return least <= RATIO_MAX


def silent_crowd(server, writers, period):
    socks = slow_loris(server, SILENT)
    try:
        return honest_p99(writers, period)
    finally:
        for s in socks:
            s.close()


def hungry(build, seconds):
    """Clients who ask for very much at once, and read none of it."""
    server = load.Server(build)
    writers = load.begin(server, 8, 1)
    c = load.Connection(server.port)
    channel = load.Channel()
    assert channel.create(c)[2] == load.OK
    assert channel.append(c, 0, 0, ENTRY)[2] == load.OK
    eaters = [load.Connection(server.port) for _ in range(EATERS)]
    for e in eaters:
        e.send([channel.reading(0)] * ASKED)
    before = [len(w.acknowledged) for w in writers]
    end = time.monotonic() + max(5.0, seconds / 6)
    highest = 0
    while time.monotonic() < end:
        highest = max(highest, server.memory())
        time.sleep(0.05)
    more = [len(w.acknowledged) - n for w, n in zip(writers, before)]
    figure("memory_with_hungry_readers", highest / (1 << 20), "MiB")
    figure("appends_with_hungry_readers",
           sum(more) / max(5.0, seconds / 6), "1/s")
    yield highest < MEMORY_MAX and min(more) > 0, \
        f"{EATERS * ASKED} requests for {ENTRY >> 20} MiB each take nothing " \
        "from others"
    load.stop(writers)
    yield none_of(load.check(server, writers)), \
        "and all is there once and in order"
    yield server.end() == 0, "and it ends in good order"


def again(server):
    try:
        return load.Connection(server.port)
    except load.Gone:
        return None


def mass_reconnect(server):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        start = time.monotonic()
        back = list(pool.map(lambda _: again(server), range(RECONNECT)))
    figure("reconnect", RECONNECT / (time.monotonic() - start), "1/s")
    for c in back:
        if c:
            c.close()
    return all(back)


def strangers(build, seconds):
    """Half-open connections, a storm of reconnects, one who never reads."""
    server = load.Server(build, "--connections-per-network", "18000")
    writers = load.begin(server, 8, 1)
    period = max(3.0, seconds / 6)
    quiet = honest_p99(writers, period)
    figure("honest_p99_unloaded", quiet * 1e3, "ms")
    yield loaded_ratio("honest_p99_half_open_ratio", quiet,
                       lambda: silent_crowd(server, writers, period)), \
        f"{SILENT} half-open connections slow nobody down"
    yield mass_reconnect(server), f"{RECONNECT} reconnects are served"

    deaf = load.Connection(server.port)
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for w in writers:
        w.channel.attach(deaf)
    before = [len(w.acknowledged) for w in writers]
    time.sleep(period)
    memory = server.memory()
    more = [len(w.acknowledged) - n for w, n in zip(writers, before)]
    figure("memory_with_deaf_reader", memory / (1 << 20), "MiB")
    figure("appends_with_deaf_reader", sum(more) / period, "1/s")
    yield memory < MEMORY_MAX and min(more) > 0, \
        "one who never reads is only its own loss"
    load.stop(writers)
    yield none_of(load.check(server, writers)), \
        "and all is there once and in order"
    yield server.end() == 0, "and it ends in good order"


def greedy(build, seconds):
    """With the limits of a real server, one writer takes nothing from others."""
    server = load.Server(build)
    writers = load.begin(server, 2, 0)
    crowd = [load.Writer(100 + i, server, writers[0].channel, pace=0)
             for i in range(CROWD)]
    period = max(2.0, seconds / 6)
    quiet = honest_p99(writers[1:], period)
    for w in crowd:
        w.start()
    loaded = honest_p99(writers[1:], period)
    load.stop(writers + crowd)
    figure("honest_p99_full_rate_ratio", loaded / quiet, "ratio")
    yield none_of(load.check(server, writers + crowd)), \
        "a member that appends at full rate breaks nothing"
    yield server.end() == 0, "and it ends in good order"


SCENARIOS = {f.__name__: f
             for f in (soak, calendar, strangers, greedy, hungry)}


def main():
    build = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    names = sys.argv[3:] or SCENARIOS
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return tap.run(case for name in names
                   for case in SCENARIOS[name](build, seconds))


if __name__ == "__main__":
    sys.exit(main())
