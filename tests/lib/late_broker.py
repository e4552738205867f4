#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""late_broker.py KILLS COUNT: an MQTT 5 broker that has not read what it was sent.

It holds COUNT messages "1\\n" to "COUNT\\n" for one client's session, and sends of them no
more than the client's receive maximum allows. On the first KILLS connections it reads
nothing behind SUBSCRIBE, and what has come by the end of the connection it never reads:
so does a broker under load whose write meets the reset of a client that was killed. It
reads everything on the connections after those.

The first line on stdout is its port, then one for each CONNECT: its version and its
receive maximum. It ends at the end of its input.
"""
import select
import socket
import sys

kills, count = int(sys.argv[1]), int(sys.argv[2])
CONNECT, PUBACK, SUBSCRIBE, PINGREQ = 1, 4, 8, 12


def varint(data, at):
    value, shift = 0, 0
    while True:
        value |= (data[at] & 127) << shift
        at += 1
        shift += 7
        if data[at - 1] < 128:
            return value, at


def receive_maximum(body):
    """Of CONNECT: behind "MQTT", the version, flags and keep-alive, the properties."""
    size, at = varint(body, 10)
    end = at + size
    while at < end:
        if body[at] == 0x21:
            return int.from_bytes(body[at + 1 : at + 3], "big")
        if body[at] != 0x11:
            break
        at += 5
    return 65535


class Connection:
    def __init__(self, plain, is_deaf):
        self.plain, self.is_deaf, self.held, self.room = plain, is_deaf, b"", 0

    def publish(self, number, is_again):
        payload = b"%d\n" % number
        body = b"\x00\x03t/n" + number.to_bytes(2, "big") + b"\x00" + payload
        self.plain.sendall(bytes([0x3A if is_again else 0x32, len(body)]) + body)
        self.room -= 1

    def fill(self, unread):
        """unread: the numbers that were sent, and whose PUBACK has not been read."""
        global sent
        while self.room > 0 and sent < count:
            sent += 1
            unread.append(sent)
            self.publish(sent, False)

    def take(self, kind, body, unread):
        if kind == CONNECT:
            self.room = receive_maximum(body)
            print("CONNECT", body[6], self.room, flush=True)
            self.plain.sendall(bytes([0x20, 3, 1 if sent > 0 else 0, 0, 0]))
        elif kind == SUBSCRIBE:
            self.plain.sendall(b"\x90\x04" + body[:2] + b"\x00\x01")
            if b"$SYS/" in body:
                return True
            for number in unread:
                self.publish(number, True)
            self.fill(unread)
            return not self.is_deaf
        elif kind == PUBACK:
            unread.remove(int.from_bytes(body[:2], "big"))
            self.room += 1
            self.fill(unread)
        elif kind == PINGREQ:
            self.plain.sendall(b"\xd0\x00")
        return True

    def read(self, unread):
        """False: nothing more is to be read."""
        data = self.plain.recv(65536)
        self.held += data
        while len(self.held) >= 2:
            size, at = varint(self.held, 1)
            if len(self.held) < at + size:
                break
            kind, body = self.held[0] >> 4, self.held[at : at + size]
            self.held = self.held[at + size :]
            if not self.take(kind, body, unread):
                return False
        return data != b""


def is_over(connection):
    """Wait for the end of the connection, or of our input; true: of our input."""
    wait = select.poll()
    wait.register(connection.plain, select.POLLRDHUP)
    wait.register(sys.stdin, select.POLLIN)
    return any(number == sys.stdin.fileno() for number, _ in wait.poll(60000))


def serve(connection, unread):
    """True: our input has ended."""
    while True:
        ready, _, _ = select.select([connection.plain, sys.stdin], [], [], 60)
        if sys.stdin in ready or not ready:
            return True
        try:
            if not connection.read(unread):
                break
        except OSError:
            return False
    return connection.is_deaf and is_over(connection)


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sent, left_unread, number_of = 0, [], 0
while True:
    ready, _, _ = select.select([listener, sys.stdin], [], [], 60)
    if sys.stdin in ready or not ready:
        break
    socket_, _ = listener.accept()
    number_of += 1
    has_ended = serve(Connection(socket_, number_of <= kills), left_unread)
    socket_.close()
    if has_ended:
        break
