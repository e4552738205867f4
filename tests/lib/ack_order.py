#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ack_order.py TRACE PORT COUNT [SIZE]: does a PUBACK ever leave before the commit has returned?

TRACE is what

    strace -f -yy -xx -s 65536 -e trace=read,recvfrom,write,writev,sendto,sendmsg,\\
openat,fdatasync,fsync,pwrite64,pwritev -o TRACE tidegate-ingest ...

wrote; PORT is the broker's. A commit of LMDB is durable once fdatasync() of data.mdb has
returned and then the write of the meta page, through the descriptor that was opened with
O_DSYNC. Whatever PUBLISH was read before that fdatasync() began is in the commit.

With SIZE the connection is TLS 1.3, and each packet a record of its own (so mosquitto and
libmosquitto write them). Nothing in it can be read, but a PUBLISH is a record from the
broker of at least SIZE bytes, a PUBACK one of 4, and as they are in the same order their
numbers stand for the packet identifiers.

Exit status: 0 in order, and at least COUNT PUBACKs were seen; 1 a PUBACK was written
early; 3 the trace does not show enough to say.
"""
import re
import sys

CALL = re.compile(r"^(?:\d+\s+)?(\w+)\((\d+)<(.*?)>, (.*)$")
SYNC = re.compile(r"^(?:\d+\s+)?(fdatasync|fsync)\((\d+)<(.*?)>\)\s+= 0")
OPEN = re.compile(r'^(?:\d+\s+)?openat\([^,]*, "((?:\\x[0-9a-f]{2})*)", (\S+?)[,)].*= (\d+)')
HEX = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def data_of(text):
    return bytes.fromhex("".join(HEX.findall(text)).replace("\\x", ""))


def plain(path):
    """Paths are in hexadecimal too."""
    if "\\x" not in path:
        return path
    return bytes.fromhex(path.replace("\\x", "")).decode(errors="replace")


def packets(buffer):
    """Take the whole MQTT packets off the front of buffer."""
    while len(buffer) >= 2:
        size, shift, at = 0, 0, 1
        while True:
            if at == len(buffer):
                return
            byte = buffer[at]
            size |= (byte & 127) << shift
            shift += 7
            at += 1
            if not byte & 128:
                break
        if len(buffer) < at + size:
            return
        yield buffer[0], bytes(buffer[at : at + size])
        del buffer[: at + size]


def records(buffer):
    """Take the whole TLS records off the front of buffer: the size of each."""
    while len(buffer) >= 5:
        size = int.from_bytes(buffer[3:5], "big")
        if len(buffer) < 5 + size:
            return
        # One byte of type and 16 of authentication come with the packet.
        yield size - 17 if buffer[0] == 23 else 0
        del buffer[: 5 + size]


class Connection:
    def __init__(self):
        self.read_count = self.written_count = 0
        self.read = bytearray()
        self.written = bytearray()
        self.staged = set()
        self.durable = set()


class Checker:
    def __init__(self, port, size):
        self.port = port
        self.size = size  # of a PUBLISH in TLS, at least; 0: no TLS
        self.connections = {}
        self.meta_fds = set()
        self.is_synced = False
        self.covered = []
        self.published = self.acked = self.early = self.commits = 0

    def connection(self, path):
        if path not in self.connections:
            self.connections[path] = Connection()
        return self.connections[path]

    def publishes(self, c):
        """The packet identifiers of the PUBLISH packets in what was read."""
        if self.size > 0:
            for size in records(c.read):
                if size >= self.size:
                    c.read_count += 1
                    yield c.read_count
            return
        for kind, body in packets(c.read):
            if kind & 0xF0 == 0x30 and kind & 0x06:
                topic_size = int.from_bytes(body[:2], "big")
                yield int.from_bytes(body[2 + topic_size : 4 + topic_size], "big")

    def pubacks(self, c):
        if self.size > 0:
            for size in records(c.written):
                if size == 4:
                    c.written_count += 1
                    yield c.written_count
            return
        for kind, body in packets(c.written):
            if kind == 0x40:
                yield int.from_bytes(body[:2], "big")

    def took(self, path, data):
        c = self.connection(path)
        c.read += data
        for mid in self.publishes(c):
            c.staged.add(mid)
            c.durable.discard(mid)
            self.published += 1

    def gave(self, path, data, line_number):
        c = self.connection(path)
        c.written += data
        for mid in self.pubacks(c):
            self.acked += 1
            if mid not in c.durable:
                self.early += 1
                if self.early <= 5:
                    print(f"line {line_number}: PUBACK {mid} before its commit")
            c.durable.discard(mid)
            c.staged.discard(mid)

    def synced(self):
        self.is_synced = True
        self.covered = [(c, set(c.staged)) for c in self.connections.values()]

    def committed(self):
        self.commits += 1
        self.is_synced = False
        for c, mids in self.covered:
            c.durable |= mids & c.staged
            c.staged -= mids

    def line(self, number, text):
        match = OPEN.match(text)
        if match:
            path = data_of('"' + match[1] + '"')
            if path.endswith(b"data.mdb") and "O_DSYNC" in match[2]:
                self.meta_fds.add(match[3])
            return
        match = SYNC.match(text)
        if match:
            if plain(match[3]).endswith("data.mdb"):
                self.synced()
            return
        match = CALL.match(text)
        result = re.search(r"\) += (-?\d+)", text)
        if not match or not result or int(result[1]) <= 0:
            return
        call, fd, path, rest = match.groups()
        # "->" inside the address of a socket ends the shortest match too early.
        socket = re.search(r"<(TCP:\[[^\]]*\])>", text)
        if socket and socket[1].endswith(f":{self.port}]"):
            data = data_of(rest)[: int(result[1])]
            if call in ("read", "recvfrom"):
                self.took(socket[1], data)
            else:
                self.gave(socket[1], data, number)
        elif call == "pwrite64" and fd in self.meta_fds and self.is_synced:
            if plain(path).endswith("data.mdb"):
                self.committed()


def main():
    trace, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    checker = Checker(port, int(sys.argv[4]) if len(sys.argv) > 4 else 0)
    with open(trace, encoding="ascii", errors="replace") as lines:
        for number, text in enumerate(lines, 1):
            checker.line(number, text)
    print(
        f"{checker.published} PUBLISH read, {checker.commits} commits, "
        f"{checker.acked} PUBACK written, {checker.early} before their commit"
    )
    if checker.early > 0:
        return 1
    if checker.acked < count or checker.commits == 0:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
