"""A transformer that hands objects on as they are, and does wrong when their names, or START, say so."""

import os
import signal
import socket
import socketserver
import sys
import threading
import time

CALLS = "/tmp/calls"
lock = threading.Lock()


def read_head(f):
    head = []
    while (line := f.readline()) not in (b"\r\n", b""):
        head.append(line.decode("latin-1").strip())
    return head


def read_body(f, head):
    fields = {k.lower(): v.strip() for k, _, v in (h.partition(":") for h in head[1:])}
    if "chunked" not in fields.get("transfer-encoding", ""):
        return f.read(int(fields.get("content-length", "0")))
    body = b""
    while n := int(f.readline().split(b";")[0], 16):
        body += f.read(n)
        f.readline()
    f.readline()
    return body


def answer(body, length=None, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def chunks(*parts):
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while head := read_head(self.rfile):
            method, target = head[0].split()[:2]
            if target == "/health":
                self.wfile.write(answer(b"ok"))
                continue
            if not self.serve(target.split("?")[0].split("/")[-1], read_body(self.rfile, head)):
                return

    def serve(self, how, body):
        """Whether the connection goes on."""
        send = self.wfile.write
        if how.startswith("crash"):
            os._exit(9)
        elif how.startswith("midstream"):
            send(chunks(body, body))
            return False
        elif how.startswith("die-midstream"):
            send(chunks(body))
            time.sleep(0.1)
            os._exit(9)
        elif how.startswith("hang"):
            time.sleep(3600)
        elif how.startswith("drip"):
            send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                send(b".")
                time.sleep(0.05)
        elif how.startswith("garbage"):
            send(os.urandom(20000) if "binary" in how else b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" * 100)
            return False
        elif how.startswith("closes"):
            return False
        elif how.startswith("shorter"):
            send(answer(body, len(body) + 100))
            return False
        elif how.startswith("longer"):
            send(answer(body + b"more than it said", len(body)))
            return False
        elif how.startswith("endless"):
            send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                send(b"10000\r\n" + bytes(65536) + b"\r\n")
        elif how.startswith("eat"):
            eaten = []
            while True:
                eaten.append(bytearray(os.urandom(1 << 20)))
        elif how.startswith("slow"):
            time.sleep(float(os.environ.get("SLOW", "0.3")))
            send(answer(body))
        elif how.startswith("refuse"):
            send(answer(b"I refuse " + how.encode(), status="422 Unprocessable"))
        elif how.startswith("talk"):
            for i in range(40000):
                print(f"{i:06} I have much to say", flush=False)
            sys.stdout.flush()
            send(answer(body))
        elif how.startswith("calls"):
            send(answer(b"%d" % calls))
        else:
            send(answer(body))
        return True


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 1024


calls = 0
start = os.environ.get("START", "")
if start == "crash":
    print("I never start", flush=True)
    sys.exit(7)
if start == "deaf to SIGTERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if start == "children":  # of a session of their own, which outlive their parent
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
Server(("0.0.0.0", 8000), Handler).serve_forever()
