#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# A broker that says no, for what mosquitto cannot be made to say. It prints its port,
# then a line for each packet that it takes, and answers by what its arguments name:
#   old           MQTT 5 is refused, in the way of a broker that knows 3.1.1 alone
#   dumb          MQTT 5 is not answered, in the way of one that does not even say so
#   reject        each CONNECT is refused (MQTT 5: not authorised, with a reason string)
#   deny=FILTER   that SUBSCRIBE is refused; each FILTER is granted at QoS 1 otherwise
#   lower=FILTER  that SUBSCRIBE is granted at QoS 0
#   mute=FILTER   that SUBSCRIBE is not answered
#   close=FILTER  that SUBSCRIBE ends the connection
#   figures       behind each SUBACK one message with a figure of the broker's own, "7"
#   noids         it does not know subscription identifiers (MQTT 5)
#   noshared      it does not know shared subscriptions (MQTT 5)
#   expiry=S      it keeps a session for no longer than S seconds (MQTT 5)
#   cut           behind CONNACK half of a message, and the end
#   send          after each SUBACK one message, to the topic "t/FILTER's number so far"
# A connection ends with the program, at the end of its input.
import select
import socket
import sys

words = sys.argv[1:]


def varint(data, at):
    value, shift = 0, 0
    while True:
        value |= (data[at] & 127) << shift
        at += 1
        shift += 7
        if data[at - 1] < 128:
            return value, at


def string(data, at):
    size = int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : at + 2 + size].decode(), at + 2 + size


def packet(kind, body):
    assert len(body) < 128
    return bytes([kind, len(body)]) + body


class Session:
    def __init__(self, connection):
        self.connection, self.held, self.version, self.sent = connection, b"", 4, 0

    def connect(self, body):
        _, at = string(body, 0)
        self.version = body[at]
        print("CONNECT", self.version, flush=True)
        if "old" in words and self.version != 4:
            self.connection.sendall(packet(0x20, b"\x00\x01"))
            return False
        if "dumb" in words and self.version != 4:
            return False
        if "reject" in words:
            why = b"come back on Monday"
            tail = bytes([3 + len(why), 0x1F]) + len(why).to_bytes(2, "big") + why
            self.connection.sendall(
                packet(0x20, b"\x00\x87" + tail if self.version == 5 else b"\x00\x05")
            )
            return False
        properties = b"\x29\x00" if "noids" in words else b""
        properties += b"\x2a\x00" if "noshared" in words else b""
        for word in words:
            if word.startswith("expiry="):
                properties += b"\x11" + int(word[7:]).to_bytes(4, "big")
        properties = bytes([len(properties)]) + properties
        self.connection.sendall(
            packet(0x20, b"\x00\x00" + (properties if self.version == 5 else b""))
        )
        if "cut" in words:
            self.connection.sendall(b"\x32\x20\x00\x03t/a")
            return False
        return True

    def subscribe(self, body):
        at, number = 2, 0
        if self.version == 5:
            size, at = varint(body, at)
            if size > 0:
                number, _ = varint(body, at + 1)
            at += size
        name, at = string(body, at)
        print("SUBSCRIBE", name, number, body[at], flush=True)
        if "close=" + name in words:
            return False
        if "mute=" + name in words:
            return True
        code = 1
        if "deny=" + name in words:
            code = 0x87 if self.version == 5 else 0x80
        if "lower=" + name in words:
            code = 0
        gap = b"\x00" if self.version == 5 else b""
        self.connection.sendall(packet(0x90, body[:2] + gap + bytes([code])))
        if "send" in words:
            self.publish(b"t/%d" % (self.sent + 1), gap, b"payload")
        if "figures" in words:
            self.publish(b"$SYS/broker/publish/messages/dropped", gap, b"7")
        return True

    def publish(self, topic, gap, payload):
        self.sent += 1
        body = len(topic).to_bytes(2, "big") + topic + self.sent.to_bytes(2, "big")
        self.connection.sendall(packet(0x32, body + gap + payload))

    def take(self, kind, body):
        if kind >> 4 == 1:
            return self.connect(body)
        if kind >> 4 == 8:
            return self.subscribe(body)
        elif kind >> 4 == 12:
            self.connection.sendall(b"\xd0\x00")
        elif kind >> 4 == 4:
            print("PUBACK", int.from_bytes(body[:2], "big"), flush=True)
        elif kind >> 4 == 3:
            topic, at = string(body, 0)
            self.connection.sendall(packet(0x40, body[at : at + 2]))
            at += 2
            if self.version == 5:
                size, at = varint(body, at)
                at += size
            print("PUBLISH", topic, body[at:].decode(), flush=True)
        else:
            print("PACKET", kind >> 4, flush=True)
        return True

    def read(self):
        try:
            data = self.connection.recv(65536)
        except OSError:
            return False
        self.held += data
        while len(self.held) >= 2:
            size, at = varint(self.held, 1)
            if len(self.held) < at + size:
                break
            kind, body = self.held[0], self.held[at : at + size]
            self.held = self.held[at + size :]
            if not self.take(kind, body):
                return False
        return data != b""


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sessions = {}
while True:
    ready, _, _ = select.select([listener, sys.stdin, *sessions], [], [], 60)
    if sys.stdin in ready or not ready:
        break
    for one in ready:
        if one is listener:
            connection, _ = listener.accept()
            sessions[connection] = Session(connection)
        elif not sessions[one].read():
            del sessions[one]
            one.close()
