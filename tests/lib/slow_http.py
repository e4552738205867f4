#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An HTTP client that takes its time.

slow_http.py sip PORT PATH     Ask, take a little, ask for /healthz on another connection
                               while the answer waits, then take the rest. Exit status 0:
                               both came whole. Prints the size.
slow_http.py trickle PORT      A byte of a request each second, until the other side ends
                               it. Prints after how many seconds that was.
"""
import socket
import sys
import time

LIMIT_S = 120


def connect(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(LIMIT_S)
    s.connect(("127.0.0.1", port))
    return s


def ask(s, path):
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


def take(s, size):
    """Up to so many bytes, or all."""
    data = b""
    while size is None or len(data) < size:
        part = s.recv(4096)
        if not part:
            break
        data += part
    return data


def length_of(head):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    sys.exit(f"no length: {head[:300]!r}")


def sip(port, path):
    s = connect(port)
    ask(s, path)
    data = take(s, 8192)
    other = connect(port)
    ask(other, "/healthz")
    answer = take(other, None)
    if b" 200 " not in answer.split(b"\r\n")[0]:
        sys.exit(f"the other one was not answered: {answer[:300]!r}")
    data += take(s, None)
    head, body = data.split(b"\r\n\r\n", 1)
    if len(body) != length_of(head):
        sys.exit(f"{len(body)} bytes of {length_of(head)}")
    print(len(body))


def trickle(port):
    s = connect(port)
    start = time.monotonic()
    s.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
    s.settimeout(1)
    while time.monotonic() - start < LIMIT_S:
        try:
            s.sendall(b"x")
            if not s.recv(1):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        sys.exit("it was never ended")
    print(int(time.monotonic() - start))


if sys.argv[1] == "sip":
    sip(int(sys.argv[2]), sys.argv[3])
else:
    trickle(int(sys.argv[2]))
