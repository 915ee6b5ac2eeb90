# SPDX-License-Identifier: Apache-2.0
"""A server to test, and the other end of its HTTP: written from RFC 9112 and
RFC 6455 with nothing but Python's own library, so it shares no code and no
mistake with the server."""
import base64
import contextlib
import hashlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import tempfile

PATIENCE = 20  # seconds; only a failure waits so long
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HELLO, PING, CHANNEL_CREATE = 1, 2, 36
PURPOSE_CHANNEL = 3
ANONYMOUS = 2


class Server:
    """A sottod on a folder of its own."""

    def __init__(self, program, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="sotto-web-")
        self.data = os.path.join(self.folder.name, "data")
        self.program = program
        self.said = {}
        store = os.environ.get("SOTTO_TEST_STORE")  # of scripts/with-postgres
        if store:
            options += ("--store", store)
        self.process = subprocess.Popen(
            [program, "--config", "", "--data", self.data, "--listen",
             "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0", "--admin-listen",
             "127.0.0.1:0", *options], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            what, _, value = line.rstrip("\n").rpartition(" on ")
            if what:
                self.said[what] = int(value.rpartition(":")[2])
            if what == "listening":
                break
        self.port = self.said["listening"]
        self.proxy = self.said["listening for proxies"]
        self.admin = self.said["metrics"]

    def invite(self):
        out = subprocess.run(
            [self.program, "invite", "--config", "", "--data", self.data],
            stdout=subprocess.PIPE, text=True, check=True).stdout
        return out.partition("invite code: ")[2].strip()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.folder.cleanup()
        return status


@contextlib.contextmanager
def server(program, *options):
    one = Server(program, *options)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.end()


def connect(port, tls=True, protocols=("http/1.1",)):
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
    if not tls:
        return raw
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context.wrap_socket(raw, server_hostname="localhost")


def receive(sock, size=65536):
    try:
        return sock.recv(size)
    except (ConnectionError, ssl.SSLError):
        return b""


class Answer:
    """Of one request; the connection is over after it."""

    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1]) if first else 0
        self.fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.fields[name.lower()] = value.strip()


def ask(sock, method, path, fields=(), body=b""):
    """Sends a request and reads until the server closes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost",
             "Connection: close",
             *(f"{name}: {value}" for name, value in fields)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    parts = []
    with sock:
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        while part := receive(sock):
            parts.append(part)
    return Answer(b"".join(parts))


def frames(kind, number, message, size=65527):
    """A message in the frames of docs/protocol.md, section 2."""
    out = b""
    while message:
        part, message = message[:size], message[size:]
        more = 0x80 if message else 0
        out += struct.pack(">IBI", len(part) + 5, kind | more, number) + part
    return out


class WebSocket:
    """Cuts what it sends into messages and fragments of odd sizes."""

    def __init__(self, sock, path="/sotto", fields=()):
        self.sock = sock
        self.wire = b""    # from the server, not yet looked at
        self.stream = b""  # payloads of its binary messages
        self.closed = None
        key = base64.b64encode(os.urandom(16))
        lines = [f"GET {path} HTTP/1.1", "Host: localhost",
                 "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Protocol: sotto.1",
                 "Sec-WebSocket-Key: " + key.decode(),
                 *(f"{name}: {value}" for name, value in fields)]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        while b"\r\n\r\n" not in self.wire:
            part = receive(sock)
            if not part:
                break
            self.wire += part
        answer = Answer(self.wire)
        self.status, self.fields = answer.status, answer.fields
        self.wire = answer.body
        digest = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        self.good = (self.status == 101 and
                     self.fields["sec-websocket-accept"] == digest and
                     self.fields["sec-websocket-protocol"] == "sotto.1")

    def frame(self, opcode, payload, fin=True, masked=True):
        size = len(payload)
        mask = os.urandom(4) if masked else b""
        bit = 0x80 if masked else 0
        if size < 126:
            head = struct.pack(">B", bit | size)
        elif size < 65536:
            head = struct.pack(">BH", bit | 126, size)
        else:
            head = struct.pack(">BQ", bit | 127, size)
        if masked:
            long = (mask * (size // 4 + 1))[:size]
            payload = (int.from_bytes(payload, "big") ^
                       int.from_bytes(long, "big")).to_bytes(size, "big")
        self.sock.sendall(bytes([opcode | (0x80 if fin else 0)]) + head +
                          mask + payload)

    def send(self, data, size=1000003):
        opcode = 2
        while data:
            part, data = data[:size], data[size:]
            self.frame(opcode, part, fin=not data)
            opcode = 0

    def read(self):
        """Takes one frame; returns its opcode, None at the end."""
        while True:
            if len(self.wire) >= 2:
                size, at = self.wire[1] & 0x7f, 2
                if size == 126:
                    size, at = int.from_bytes(self.wire[2:4], "big"), 4
                elif size == 127:
                    size, at = int.from_bytes(self.wire[2:10], "big"), 10
                if len(self.wire) >= at + size:
                    break
            part = receive(self.sock)
            if not part:
                return None
            self.wire += part
        opcode, payload = self.wire[0] & 15, self.wire[at:at + size]
        self.wire = self.wire[at + size:]
        if opcode in (0, 2):
            self.stream += payload
        if opcode == 8:
            self.closed = payload
        return opcode

    def message(self):
        """Waits for one message: its id and content."""
        content = b""
        while True:
            while (len(self.stream) < 4 or len(self.stream) <
                   4 + int.from_bytes(self.stream[:4], "big")):
                if self.read() is None:
                    return None, b""
            length, kind, number = struct.unpack(">IBI", self.stream[:9])
            content += self.stream[9:4 + length]
            self.stream = self.stream[4 + length:]
            if not kind & 0x80:
                return number, content

    def request(self, number, content):
        self.send(frames(1, number, content))
        return self.message()


def hello(nonce=bytes(32), lane=ANONYMOUS):
    return struct.pack(">HHB", HELLO, 1, lane) + nonce


def vec(data):
    assert len(data) < 16384
    head = (bytes([len(data)]) if len(data) < 64
            else struct.pack(">H", 0x4000 | len(data)))
    return head + data


def signed_over(answer, nonce, exporter=bytes(32), lane=ANONYMOUS):
    """What the server must have signed in its hello, and key and signature."""
    version, key = answer[3:5], answer[5:37]
    server_nonce, rest, signature = answer[37:69], answer[69:82], answer[-64:]
    session = bytes([lane]) + key + nonce + server_nonce + exporter
    content = session + version + rest
    return vec(b"sotto server hello v1") + vec(content), key, signature


def signature_holds(text, key, signature):
    """Asks openssl(1); None when it is not there."""
    der = bytes.fromhex("302a300506032b6570032100") + key
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, n) for n in ("text", "key", "signature")]
        for path, data in zip(paths, (text, der, signature)):
            with open(path, "wb") as f:
                f.write(data)
        try:
            return subprocess.run(
                ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER",
                 "-rawin", "-in", paths[0], "-inkey", paths[1], "-sigfile",
                 paths[2]], check=False, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL).returncode == 0
        except FileNotFoundError:
            return None


def work(purpose, subject, bits, day):
    nonce = 0
    while True:
        digest = hashlib.sha256(
            b"sotto pow v1" + bytes([purpose]) + subject +
            struct.pack(">IQ", day, nonce)).digest()
        if int.from_bytes(digest, "big") >> (256 - bits) == 0:
            return struct.pack(">IQ", day, nonce)
        nonce += 1


def right_of_a_channel(port):
    """Makes a channel over a WebSocket; returns what its only subscription
    shows in a request for a blob."""
    channel, sub, cap = os.urandom(32), os.urandom(32), os.urandom(32)
    ws = WebSocket(connect(port))
    _, greeting = ws.request(1, hello())
    seconds, bits = int.from_bytes(greeting[69:77], "big"), greeting[77]
    _, answer = ws.request(2, struct.pack(">H", CHANNEL_CREATE) + channel +
                           sub + hashlib.sha256(cap).digest() +
                           work(PURPOSE_CHANNEL, channel, bits,
                                seconds // 86400))
    ws.sock.close()
    if answer[2:3] != b"\0":
        print(f"# channel_create: {answer.hex()}")
        return None
    return "Sotto " + ".".join(x.hex() for x in (channel, sub, cap))
