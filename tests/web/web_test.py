#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server program over HTTP, as browsers, monitors and proxies meet it."""
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "scripts"))
# pylint: disable=wrong-import-position
import peer
import tap

HERE = os.path.dirname(os.path.abspath(__file__))
LARGE = 3 << 20


def refused(port, protocols):
    try:
        peer.connect(port, protocols=protocols).close()
        return False
    except (ssl.SSLError, ConnectionError):
        return True


def plain_requests(server):
    for protocols in (("http/1.1",), ("h2", "http/1.1"), ()):
        a = peer.ask(peer.connect(server.port, protocols=protocols), "GET",
                     "/health")
        yield (a.status == 200 and a.body == b"ok\n",
               f"health over TLS to who offers {protocols}")
    yield refused(server.port, ("h2",)), "who speaks HTTP/2 only is refused"
    a = peer.ask(peer.connect(server.proxy, tls=False), "HEAD", "/health")
    yield (a.status == 200 and a.body == b"" and
           a.fields["content-length"] == "3"), "health to a proxy, by HEAD"
    a = peer.ask(peer.connect(server.port), "GET", "/metrics")
    yield a.status == 404, "no numbers on the public port"
    a = peer.ask(peer.connect(server.port), "GET", "/" + "a" * 9000)
    yield a.status == 431, "a head that is too long is told so"
    a = peer.ask(peer.connect(server.port), "POST", "/health", body=b"x")
    yield (a.status == 405 and a.fields["allow"] == "GET, HEAD",
           "another method is told which to use")


def numbers(server):
    time.sleep(2.5)  # the processes tell each other once a second
    a = peer.ask(peer.connect(server.admin, tls=False), "GET", "/metrics")
    found = dict(re.findall(r"^(\w+) (\d+)$", a.body.decode(), re.M))
    names = re.findall(r"^# TYPE (\w+) (?:counter|gauge)$", a.body.decode(),
                       re.M)
    yield a.status == 200 and names == list(found), "numbers with their types"
    yield (int(found["sotto_store_bytes"]) > 4096 and
           int(found["sotto_net_accepted_total"]) > 5 and
           int(found["sotto_requests_total"]) >= 2), "numbers that move"
    memory = [int(v) for k, v in found.items() if k.endswith("memory_bytes")]
    yield (len(memory) == 2 and all(m > 100000 for m in memory),
           "memory of the store and of net")
    yield b"{" not in a.body, "no label"


def websocket(server, port, tls):
    where = "over TLS" if tls else "for a proxy"
    ws = peer.WebSocket(peer.connect(port, tls=tls))
    yield ws.good, f"an upgrade {where}"
    nonce = os.urandom(32)
    number, answer = ws.request(7, peer.hello(nonce))
    yield number == 7 and answer[:3] == b"\0\1\0", f"hello {where}"
    held = peer.signature_holds(*peer.signed_over(answer, nonce))
    other = peer.signature_holds(*peer.signed_over(answer, nonce, b"x" * 32))
    yield (held is not False and not other,
           f"it is signed without an exporter {where}" +
           (" # SKIP no openssl" if held is None else ""))
    ws.frame(9, b"still there?")
    yield ws.read() == 10, f"a ping of WebSocket {where}"
    number, answer = ws.request(8, peer.PING.to_bytes(2, "big"))
    yield number == 8 and answer == b"\0\2\0", f"a ping of ours {where}"
    ws.send(peer.frames(1, 9, bytes([0, 99]) + bytes(LARGE)), size=40961)
    number, answer = ws.message()
    yield number == 9 and answer[2] != 0, f"a large message in pieces {where}"
    ws.frame(8, b"\x03\xe8bye")
    while ws.read() is not None:
        pass
    yield ws.closed == b"\x03\xe8", f"the close is echoed {where}"
    ws.sock.close()
    del server


def breaches(server):
    for text, bad, code in (
            ("without a mask", lambda w: w.frame(2, b"x", masked=False), 1002),
            ("with text", lambda w: w.frame(1, b"x"), 1003)):
        ws = peer.WebSocket(peer.connect(server.port))
        bad(ws)
        while ws.read() is not None:
            pass
        yield (ws.closed == code.to_bytes(2, "big"),
               f"a frame {text} is closed with {code}")
        ws.sock.close()
    ws = peer.WebSocket(peer.connect(server.port))
    ws.send(b"\0\0\0\0")
    yield ws.read() is None, "a breach of our frames ends it"
    ws.sock.close()


def node(server):
    """Node's own WebSocket, from version 20 on."""
    program = shutil.which("node")
    text = "the WebSocket of Node says hello"
    if program is None:
        yield True, text + " # SKIP there is no node"
        return
    out = subprocess.run(
        [program, "--experimental-websocket",
         os.path.join(HERE, "websocket.js"),
         f"wss://127.0.0.1:{server.port}/sotto"], check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"})
    if "bad option" in out.stdout or "no WebSocket" in out.stdout:
        yield True, text + " # SKIP this node is too old"
        return
    if out.returncode != 0:
        print("# " + out.stdout.replace("\n", "\n# "))
    yield out.returncode == 0, text


def hanging(server):
    """The store process stops for a while."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        time.sleep(6.5)
        a = peer.ask(peer.connect(server.port), "GET", "/health")
        yield a.status == 503, "a store that hangs is not well"
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    time.sleep(2.5)
    a = peer.ask(peer.connect(server.port), "GET", "/health")
    yield a.status == 200, "and is well when it goes on"


def draining(server):
    ws = peer.WebSocket(peer.connect(server.port))
    ws.request(1, peer.hello())
    yield server.end() == 0, "the server ends in good order"
    while ws.read() is not None:
        pass
    yield ws.closed == b"\x03\xe9", "and tells a WebSocket that it goes"
    ws.sock.close()


def cases(sottod):
    with peer.server(sottod) as server:
        yield from plain_requests(server)
        yield from websocket(server, server.port, True)
        yield from websocket(server, server.proxy, False)
        yield from breaches(server)
        yield from node(server)
        yield from numbers(server)
        yield from hanging(server)
        yield from draining(server)


if __name__ == "__main__":
    sys.exit(tap.run(cases(sys.argv[1])))
