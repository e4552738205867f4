#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# The other end of a TLS connection, for what mosquitto cannot be made to do. It prints
# its port, and ends at the end of its input.
#   tls_peer.py silent                  takes connections and never says a word
#   tls_peer.py reset                   resets each connection after the first byte
#   tls_peer.py old CERT KEY            knows nothing newer than TLS 1.1
#   tls_peer.py gather CERT KEY PORT    passes everything on to PORT, plain; what comes
#                                       back is gathered into few, large TLS records
import select
import socket
import ssl
import sys
import threading

RECORD = 16384
kind = sys.argv[1]


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(sys.argv[2], sys.argv[3])
    if kind == "old":
        made.set_ciphers("ALL:@SECLEVEL=0")
        made.minimum_version = ssl.TLSVersion.TLSv1
        made.maximum_version = ssl.TLSVersion.TLSv1_1
    return made


def gather(client, broker):
    """Down to the client nothing goes until the broker pauses, or a record is full."""
    held = b""
    while True:
        ready, _, _ = select.select([client, broker], [], [], 0.1 if held else None)
        if client in ready or client.pending() > 0:
            data = client.recv(RECORD)
            if not data:
                return
            broker.sendall(data)
        if broker in ready:
            data = broker.recv(RECORD - len(held))
            if not data:
                return
            held += data
        if held and (broker not in ready or len(held) == RECORD):
            client.sendall(held)
            held = b""


def connection(plain):
    try:
        with context().wrap_socket(plain, server_side=True) as client:
            with socket.create_connection(("127.0.0.1", int(sys.argv[4]))) as broker:
                gather(client, broker)
    except OSError:  # of which ssl.SSLError is one
        pass
    plain.close()


def serve(listener):
    kept = []
    while True:
        plain, _ = listener.accept()
        print("connection", flush=True)
        if kind == "silent":
            kept.append(plain)
        elif kind == "reset":
            plain.recv(1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            plain.close()
        else:
            threading.Thread(target=connection, args=(plain,), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
threading.Thread(target=serve, args=(listener,), daemon=True).start()
sys.stdin.read()
