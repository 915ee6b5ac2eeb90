#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server behind a real nginx: one that ends TLS and passes requests on to
the proxy's port, and one that passes TLS on as it is."""
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "scripts"))
# pylint: disable=wrong-import-position
import peer
import tap

NOBODY = 65534
LARGE = 1 << 20
MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

CONFIG = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
{load}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{https} ssl;
        ssl_certificate {folder}/tls.crt;
        ssl_certificate_key {folder}/tls.key;
        location / {{
            proxy_pass http://127.0.0.1:{proxy};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffering off;
            proxy_request_buffering off;
            client_max_body_size 0;
            proxy_read_timeout 1h;
        }}
    }}
}}
stream {{
    server {{
        listen 127.0.0.1:{passed};
        proxy_pass 127.0.0.1:{port};
    }}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def wait_for(port):
    end = time.monotonic() + peer.PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionError:
            time.sleep(0.05)


class Nginx:
    """As a user without rights, in a folder of its own."""

    def __init__(self, server):
        self.folder = tempfile.TemporaryDirectory(prefix="sotto-nginx-")
        self.https, self.passed = free_port(), free_port()
        name = self.folder.name
        config = os.path.join(name, "nginx.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write(CONFIG.format(
                folder=name, https=self.https, passed=self.passed,
                proxy=server.proxy, port=server.port,
                load=f"load_module {MODULE};" if os.path.exists(MODULE)
                else ""))
        for file in ("tls.crt", "tls.key"):
            shutil.copy(os.path.join(server.data, file), name)
        command = [shutil.which("nginx", path=os.environ["PATH"] +
                                ":/usr/sbin"),
                   "-p", name, "-c", config, "-e",
                   os.path.join(name, "error.log")]
        if os.geteuid() == 0:
            for file in (name, *(e.path for e in os.scandir(name))):
                os.chown(file, NOBODY, NOBODY)
            command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                       "--clear-groups", *command]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(self.https)
        wait_for(self.passed)

    def log(self):
        path = os.path.join(self.folder.name, "error.log")
        with open(path, encoding="utf-8") as f:
            return f.read()

    def end(self):
        self.process.terminate()
        self.process.wait(peer.PATIENCE)
        self.folder.cleanup()


def ended_there(nginx):
    """TLS ends at nginx."""
    a = peer.ask(peer.connect(nginx.https), "GET", "/health")
    yield a.status == 200 and a.body == b"ok\n", "health through nginx"
    a = peer.ask(peer.connect(nginx.https), "GET", "/metrics")
    yield a.status == 404, "no numbers through nginx"
    ws = peer.WebSocket(peer.connect(nginx.https))
    yield ws.good, "an upgrade through nginx"
    nonce = os.urandom(32)
    number, answer = ws.request(5, peer.hello(nonce))
    yield number == 5 and answer[:3] == b"\0\1\0", "hello through nginx"
    held = peer.signature_holds(*peer.signed_over(answer, nonce))
    yield (held is not False, "signed without an exporter" +
           (" # SKIP no openssl" if held is None else ""))
    for number in range(10, 30):
        ws.send(peer.frames(1, number, bytes([0, 99]) + bytes(LARGE)),
                size=32749)
        got, answer = ws.message()
        if got != number or answer[2] == 0:
            break
    yield got == 29, "twenty large messages through nginx"
    for number in range(100, 150):
        ws.send(peer.frames(1, number, struct.pack(">H", peer.PING)))
    got = sorted(ws.message()[0] for _ in range(100, 150))
    yield got == list(range(100, 150)), "many requests at once through nginx"
    time.sleep(2)
    number, answer = ws.request(6, struct.pack(">H", peer.PING))
    yield number == 6, "an idle WebSocket stays"
    ws.frame(8, b"\x03\xe8")
    while ws.read() is not None:
        pass
    yield ws.closed == b"\x03\xe8", "the close passes nginx"
    ws.sock.close()


def blobs(nginx):
    right, data = peer.right_of_a_channel(nginx.https), os.urandom(LARGE)
    path = "/blob/" + os.urandom(32).hex()
    a = peer.ask(peer.connect(nginx.https), "PUT", path,
                 [("Authorization", right)], data)
    yield a.status == 201, "a blob is put through nginx"
    a = peer.ask(peer.connect(nginx.https), "GET", path,
                 [("Range", "bytes=1000-")])
    yield a.status == 206 and a.body == data[1000:], "and comes back"


def passed_on(nginx, server, sotto):
    """TLS ends at the server, so an exporter binds what is signed."""
    a = peer.ask(peer.connect(nginx.passed), "GET", "/health")
    yield a.status == 200, "health through passed TLS"
    ws = peer.WebSocket(peer.connect(nginx.passed))
    number, _ = ws.request(5, peer.hello())
    yield ws.good and number == 5, "a WebSocket through passed TLS"
    ws.sock.close()
    with tempfile.TemporaryDirectory() as profile:
        people = {}
        for who in ("ann", "ben"):
            people[who] = [sotto, "--profile", os.path.join(profile, who)]
            out = subprocess.run(
                [*people[who], "init", "--server", f"127.0.0.1:{nginx.passed}",
                 "--handle", who, "--invite", server.invite()], check=False,
                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            yield out.returncode == 0, f"{who} registers through passed TLS"
            if out.returncode != 0:
                print("# " + out.stdout)


def cases(sottod, sotto):
    with peer.server(sottod, "--pow-bits", "1") as server:
        nginx = Nginx(server)
        try:
            yield from ended_there(nginx)
            yield from blobs(nginx)
            yield from passed_on(nginx, server, sotto)
            yield "[alert]" not in nginx.log(), "nginx has nothing to alert of"
            yield server.end() == 0, "the server ends in good order"
        finally:
            nginx.end()


def main():
    if (shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None or
            subprocess.run(["dpkg-query", "-W", "libnginx-mod-stream"],
                           check=False, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL).returncode != 0):
        why = "nginx is not installed: scripts/deps --server-tests"
        if os.environ.get("CI") == "true":
            print(f"Bail out! {why}")
            return 1
        print(f"1..0 # SKIP {why}")
        return 0
    return tap.run(cases(*sys.argv[1:3]))


if __name__ == "__main__":
    sys.exit(main())
