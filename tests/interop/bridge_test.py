#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bridges talk to each other, in every suite, and survive any input. TAP.

usage: bridge_test.py BRIDGE
"""
import random
import subprocess
import sys

from bridge import Bridge, Refused

GROUP = b"a group"
ROUNDS = 400    # of damaged lines
SEED = 9420


class Failed(Exception):
    pass


def check(good, what):
    if not good:
        raise Failed(what)


def refuses(client, error, *words):
    try:
        client(*words)
    except Refused as refused:
        check(error in str(refused), f"{refused}, not {error}")
    else:
        raise Failed(f"{words[0]} was accepted")


def agree(*clients):
    """All stand in one epoch and derive the same from it."""
    states = [c("auth") for c in clients]
    secrets = [c("export", b"label", b"context", 32)["secret"]
               for c in clients]
    for key in ("epoch", "authenticator", "members"):
        check(len({s[key] for s in states}) == 1, f"{key} differs")
    check(len(set(secrets)) == 1, "exported secrets differ")
    return states[0]


def deliver(sender, commit, others):
    """The server gives a commit back to all, its sender included."""
    for c in others:
        check(c("process", commit)["outcome"] == "commit", "a commit")
    check(sender("process", commit)["outcome"] == "own commit", "own commit")
    return agree(sender, *others)


def talk(sender, others):
    message = sender("send", b"text", b"data")["message"]
    for c in others:
        got = c("process", message)
        check(bytes.fromhex(got["content"]) == b"text", "the text")
        check(bytes.fromhex(got["authenticated_data"]) == b"data", "the data")
        check(c("process", message)["outcome"] == "duplicate", "a replay")


def three(clients, suite, **settings):
    """A group of three: one founds it, and adds two in two commits."""
    a, b, c = clients
    for client, name in ((a, b"a"), (b, b"b"), (c, b"c")):
        client("new", suite, name)
        for key, value in settings.items():
            client("set", key, value)
    a("create", GROUP)
    made = a("add", b("keypackage")["key_package"])
    a("merge")
    b("join", made["welcome"])
    agree(a, b)
    made = b("add", c("keypackage")["key_package"])
    deliver(b, made["commit"], [a])
    c("join", made["welcome"])
    return agree(a, b, c)


def life(clients, suite):
    """three members of one group do all that members do"""
    a, b, c = clients
    check(three(clients, suite)["members"] == 3, "members")
    for sender in clients:
        others = [x for x in clients if x is not sender]
        talk(sender, others)
        deliver(sender, sender("update")["commit"], others)
    proposal = b("propose", "update")["proposal"]
    for client in clients:
        check(client("process", proposal)["outcome"] == "proposal", "by all")
    commit = c("commit")["commit"]
    check(a("process", commit)["changes"][0]["kind"] == "update", "an update")
    deliver(c, commit, [b])
    agree(a, b, c)
    made = a("remove", c("auth")["leaf"])
    check(b("process", made["commit"])["changes"][0]["kind"] == "remove",
          "what a commit changes is said")
    check(not c("process", made["commit"])["active"], "removed")
    refuses(c, "not now", "send", b"text")
    a("merge")
    check(agree(a, b)["members"] == 2, "members are two")
    talk(b, [a])


def shared_keys(clients, suite):
    """PSKs, PublicMessages and trees outside the Welcome work"""
    a, b, c = clients
    three(clients, suite)
    for client in clients:
        client("psk", b"id", b"key")
        client("set", "public", 1)
    deliver(a, a("inject", b"id")["commit"], [b, c])
    proposal = b("propose", "psk", b"id")["proposal"]
    for client in clients:
        client("process", proposal)
    deliver(c, c("commit")["commit"], [a, b])
    deliver(b, b("remove", c("auth")["leaf"])["commit"], [a])
    b("set", "outside", 1)
    made = b("add", c("keypackage")["key_package"])
    refuses(c, "not found", "join", made["welcome"])
    c("join", made["welcome"], made["tree"])
    deliver(b, made["commit"], [a])
    agree(a, b, c)
    check(len(a("members")["list"]) == 3 and a("info")["info"] and
          c("tree")["tree"] == made["tree"], "they see the same tree")


def leaving(clients, suite):
    """a member leaves by itself, in a group full of GREASE"""
    a, b, c = clients
    three(clients, suite, grease=1)
    leave = c("propose", "leave")["proposal"]
    for client in clients:
        check(client("process", leave)["outcome"] == "proposal", "by all")
    commit = b("commit")["commit"]
    check(not c("process", commit)["active"], "it is out")
    deliver(b, commit, [a])
    check(agree(a, b)["members"] == 2, "members are two")
    talk(a, [b])


def from_outside(clients, suite):
    """members come in by external commits, and again into their old leaf"""
    a, b, c = clients
    three(clients, suite)
    deliver(a, a("remove", c("auth")["leaf"])["commit"], [b])
    commit = c("external", b("info")["info"])["commit"]
    for client in (a, b):
        changes = client("process", commit)["changes"]
        check(changes[0]["kind"] == "external init", "it came from outside")
    agree(a, b, c)
    talk(c, [a, b])
    leaf = b("auth")["leaf"]
    commit = b("resync", a("info")["info"])["commit"]
    for client in (a, c):
        check(client("process", commit)["outcome"] == "commit", "a commit")
    check(agree(a, b, c)["members"] == 3 and b("auth")["leaf"] == leaf,
          "in its old place")
    talk(b, [a, c])


def heirs(clients, suite):
    """a group is branched, ended by a ReInit, and followed by another"""
    a, b, c = clients
    three(clients, suite)
    package = b("keypackage")["key_package"]
    b("join", a("branch", b"branch", package)["welcome"])
    check(agree(a, b)["members"] == 2, "a subgroup")
    refuses(c, "not now", "follow", c("keypackage")["key_package"])
    three(clients, suite)
    commit = b("reinit", b"heir")["commit"]
    for client in clients:
        check(not client("process", commit)["active"], "it has ended")
    refuses(a, "not now", "send", b"text")
    packages = [client("keypackage")["key_package"] for client in (b, c)]
    welcome = a("follow", *packages)["welcome"]
    for client in (b, c):
        check(client("join", welcome)["group"] == b"heir".hex(), "the heir")
    agree(a, b, c)
    talk(c, [a, b])


def refusals(clients, suite):
    """a wrong word or message is an error and changes nothing"""
    a, b, c = clients
    three(clients, suite)
    before = agree(a, b, c)
    usage = "wrong use"
    for words in (("send",), ("send", "0"), ("send", "0g"), ("nothing",),
                  ("add", "-"), ("export", b"", b"", "x"), ("join", b"", b""),
                  ("export", b"\0", b"", 1), ("new", 70000, b""),
                  ("new", 1, bytes(1025)), ("remove", "-1"),
                  ("remove", "0x4d"),
                  ("remove", "99999999999999999999"), ("set", "public", 2),
                  ("set", "private", 1), ("propose", "depart"),
                  ("merge", "now"), ("auth",) * 300):
        error = usage if words[0] not in ("add", "join") else "malformed"
        refuses(a, error, *words)
    check("error" in a.raw(b"auth\0"), "a zero byte")
    check("error" in a.raw(b""), "an empty line")
    refuses(a, "not found", "new", 0xfff0, b"")
    refuses(a, "against the rules", "remove", 77)
    refuses(a, "over the limit", "export", b"", b"", 2**32 - 1)
    refuses(a, "not now", "merge")
    commit = bytearray.fromhex(b("update")["commit"])
    commit[-1] ^= 1
    refuses(a, "not authentic", "process", bytes(commit))
    refuses(b, "not now", "update")
    check(agree(a, b, c) == before, "nothing has changed")
    check(b("drop")["epoch"] == before["epoch"], "nor by a commit dropped")
    deliver(c, c("update")["commit"], [a, b])


def damage(clients, suite):
    """lines with damage of chance are answered, and the group lives on"""
    a, b, c = clients
    three(clients, suite)
    chance = random.Random(SEED)
    leaf = c("auth")["leaf"]
    a("remove", leaf)
    a("merge")
    key_package = c("keypackage")["key_package"]
    welcome = a("add", key_package)["welcome"]
    three(clients, suite)
    lines = [["process", b("send", b"text")["message"]],
             ["process", b("propose", "update")["proposal"]],
             ["process", b("update")["commit"]], ["add", key_package],
             ["join", welcome, a("tree")["tree"]],
             ["export", "00", "ff", "32"], ["remove", "1", "2"]]
    b("drop")
    refused = 0
    for _ in range(ROUNDS):
        words = list(chance.choice(lines))
        i = chance.randrange(len(words))
        word = bytearray(words[i].encode())
        at = chance.randrange(len(word))
        kind = chance.randrange(4)
        if kind == 0:
            word[at] = chance.choice(b"0123456789abcdef")
        elif kind == 1:
            del word[at:at + chance.randrange(1, 64)]
        elif kind == 2:
            word[at:at] = word[:chance.randrange(64)]
        else:
            word[at] = chance.randrange(256)
        line = b" ".join(bytes(word) if k == i else w.encode()
                         for k, w in enumerate(words))
        refused += "error" in c.raw(line.replace(b"\n", b""))
        c.raw(b"drop")
    check(refused > ROUNDS // 2, f"only {refused} were refused")
    deliver(b, b("remove", leaf)["commit"], [a])
    made = a("add", c("keypackage")["key_package"])
    deliver(a, made["commit"], [b])
    c("join", made["welcome"])
    agree(a, b, c)


def long_line(clients, suite):
    """a line that is longer than any message is refused, and the next read"""
    a = clients[0]
    a("new", suite, b"a")
    for _ in range(131):
        a.process.stdin.write(b"0" * (1 << 20))
    check(a.raw(b"")["error"] == "over the limit", "refused")
    a("create", GROUP)


def main():
    program = sys.argv[1]
    clients = [Bridge(program) for _ in range(3)]
    suites = clients[0]("suites")["suites"]
    cases = [(life, s) for s in suites] + [
        (f, s) for f in (shared_keys, leaving, from_outside,
                             heirs, refusals, damage, long_line)
        for s in suites[:1]]
    print(f"1..{len(cases) + 2}")
    failed = number = 0

    def case(good, text):
        nonlocal failed, number
        number += 1
        failed += not good
        print(f"{'' if good else 'not '}ok {number} - {text}", flush=True)

    for function, suite in cases:
        why = ""
        try:
            function(clients, suite["id"])
        except (Failed, Refused, OSError, ValueError) as problem:
            why = f": {problem}"
        case(not why, f"{function.__doc__}, {suite['name']}{why}")
    statuses = [c.close() for c in clients]
    case(statuses == [0, 0, 0], f"all end well: {statuses}")
    shown = subprocess.run([program, "--help"], check=False, text=True,
                           stdout=subprocess.PIPE).stdout
    case(all(f"\n  {word} " in shown for word in
             ("new", "create", "join", "process", "export")),
         "--help names the commands")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
