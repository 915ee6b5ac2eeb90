#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Blobs by HTTP of the real server: whole, by ranges, in parts, cut off."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "scripts"))
# pylint: disable=wrong-import-position
import peer
import tap

SIZE = 3_000_001
READERS = 20


def put(port, name, right, part, where=None, days=None, tls=True):
    fields = [("Authorization", right)]
    if where is not None:
        first, total = where
        fields.append(("Content-Range",
                       f"bytes {first}-{first + len(part) - 1}/{total}"))
    if days is not None:
        fields.append(("Blob-Days", days))
    return peer.ask(peer.connect(port, tls=tls), "PUT", "/blob/" + name,
                    fields, part)


def get(port, name, method="GET", tls=True, **fields):
    pairs = [(key.replace("_", "-"), value) for key, value in fields.items()]
    return peer.ask(peer.connect(port, tls=tls), method, "/blob/" + name,
                    pairs)


def whole(server, right):
    data, name = os.urandom(SIZE), os.urandom(32).hex()
    a = get(server.port, name)
    yield a.status == 404, "a blob that nobody put is not there"
    a = put(server.port, name, right, data)
    yield (a.status == 201 and a.fields["upload-offset"] == str(SIZE),
           "a blob is put in one request")
    a = get(server.port, name)
    yield (a.status == 200 and a.body == data and
           a.fields["content-length"] == str(SIZE)), "and comes back"
    a = get(server.proxy, name, tls=False, Range="bytes=1000000-2000000")
    yield (a.status == 206 and a.body == data[1000000:2000001] and
           a.fields["content-range"] == f"bytes 1000000-2000000/{SIZE}",
           "a part of it through the proxy's port")
    a = get(server.port, name, Range="bytes=-1")
    yield a.status == 206 and a.body == data[-1:], "its last byte"
    a = get(server.port, name, Range=f"bytes={SIZE}-")
    yield a.status == 416, "what is beyond it"
    a = get(server.port, name, "HEAD")
    yield (a.status == 200 and not a.body and
           a.fields["content-length"] == str(SIZE)), "its size by HEAD"
    a = get(server.port, name, If_None_Match=a.fields["etag"])
    yield a.status == 304 and not a.body, "who has it need not get it again"
    a = put(server.port, name, right, data)
    yield a.status == 409, "it is not put twice"


def in_parts(server, right):
    data, name = os.urandom(SIZE), os.urandom(32).hex()
    a = put(server.port, name, right, data[:1000000], (0, SIZE), days=2)
    yield (a.status == 200 and a.fields["upload-offset"] == "1000000",
           "the first part")
    yield get(server.port, name).status == 404, "a part is not given out"
    a = put(server.port, name, right, data[:10], (0, SIZE))
    yield (a.status == 409 and a.fields["upload-offset"] == "1000000",
           "a part at the wrong place is told the right one")
    a = put(server.port, name, right, data[1000000:], (1000000, SIZE + 5))
    yield a.status == 409, "and one of another total is refused"
    with peer.connect(server.port) as sock:  # cut off in the middle
        sock.sendall(
            (f"PUT /blob/{name} HTTP/1.1\r\nHost: a\r\n"
             f"Authorization: {right}\r\nContent-Length: {SIZE - 1000000}\r\n"
             f"Content-Range: bytes 1000000-{SIZE - 1}/{SIZE}\r\n\r\n"
             ).encode() + data[1000000:1800000])
        time.sleep(1)
    a = get(server.port, name, "HEAD", Authorization=right)
    offset = int(a.fields["upload-offset"])
    yield (a.status == 200 and 1000000 < offset <= 1800000,
           "after a cut, HEAD says how much is there")
    a = put(server.port, name, right, data[offset:], (offset, SIZE))
    yield a.status == 201, "and the rest completes it"
    yield get(server.port, name).body == data, "to the same bytes"


def refused(server, right):
    name = os.urandom(32).hex()
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    a = put(server.port, name, wrong, b"x")
    yield a.status == 403, "a wrong capability is refused"
    other = right.replace(right[6:10], "abcd", 1)
    a = put(server.port, name, other, b"x")
    yield a.status == 404, "and another channel"
    a = put(server.port, name, right, b"x", (0, 1 << 50))
    yield a.status == 413, "and more than a blob may be"
    a = peer.ask(peer.connect(server.port), "PUT", "/blob/" + name,
                 [("Authorization", right), ("Expect", "100-continue")], b"x")
    yield a.status == 100, "who waits to be told to go on is told"


def queued_bytes(server):
    a = peer.ask(peer.connect(server.admin, tls=False), "GET", "/metrics")
    return int(re.search(rb"^sotto_net_queued_bytes (\d+)", a.body,
                         re.M).group(1))


def slow_readers(server, right):
    """Who asks for much and reads nothing holds a piece, not a blob."""
    data, name = bytes(8 << 20), os.urandom(32).hex()
    yield put(server.port, name, right, data).status == 201, "a large blob"
    socks = []
    for _ in range(READERS):
        sock = peer.connect(server.proxy, tls=False)
        sock.setsockopt(peer.socket.SOL_SOCKET, peer.socket.SO_RCVBUF, 4096)
        sock.sendall(f"GET /blob/{name} HTTP/1.0\r\n\r\n".encode())
        socks.append(sock)
    # all have asked when something waits for each, and nothing moves
    queued = before = 0
    for _ in range(peer.PATIENCE):
        time.sleep(1.5)  # the numbers come once a second
        before, queued = queued, queued_bytes(server)
        if 0 < queued == before:
            break
    print(f"# {queued} bytes queued for {READERS} readers")
    yield 0 < queued <= READERS * (65 << 10), "slow readers hold a piece each"
    for sock in socks:
        sock.close()


def cases(sottod):
    with peer.server(sottod, "--pow-bits", "1") as server:
        right = peer.right_of_a_channel(server.port)
        yield right is not None, "a channel, to have a right"
        yield from whole(server, right)
        yield from in_parts(server, right)
        yield from refused(server, right)
        yield from slow_readers(server, right)
        yield server.end() == 0, "the server ends in good order"


if __name__ == "__main__":
    sys.exit(tap.run(cases(sys.argv[1])))
