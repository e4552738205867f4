#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# kafka_producers.py HOST:PORT TOPIC: of how many producers does partition 0 know the state?
# By DescribeProducers (API 61, version 0), which librdkafka does not speak.
import socket
import struct
import sys


def main(address, topic):
    host, port = address.rsplit(":", 1)
    name = topic.encode()
    body = struct.pack(">hhih", 61, 0, 1, 0) + b"\0"
    body += b"\2" + bytes([len(name) + 1]) + name + b"\2" + struct.pack(">i", 0) + b"\0\0"
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(struct.pack(">i", len(body)) + body)
        stream = s.makefile("rb")
        size = struct.unpack(">i", stream.read(4))[0]
        answer = stream.read(size)
    # correlation id, tags, throttle time, one topic, its name, one partition, its index
    at = 4 + 1 + 4 + 1
    at += answer[at] + 1 + 4
    error = struct.unpack(">h", answer[at : at + 2])[0]
    if error != 0:
        sys.exit(f"error {error}")
    at += 2
    at += max(answer[at], 1)
    print(answer[at] - 1)


main(*sys.argv[1:])
