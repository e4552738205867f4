#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that misbehaves when it is told to.

    tcp_proxy.py --control FIFO [--kafka] [--seed N] TARGET_PORT

The first line on stdout is its port, on 127.0.0.1. Then it takes one command a line from
the FIFO, which it makes, and answers each with a line on stdout:

    pass       everything flows (as at the start)
    cut        end each connection
    reset      the same, with a reset towards the client
    stall      nothing flows and nothing ends, until "pass"; new connections wait too
    refuse     end each connection, and new ones at once, until "pass"
    mangle P   spoil that part of the answers, until "pass" (--kafka)
    count      what has been done to answers, and how often

With --kafka the target's address in its answers becomes the proxy's, so that a client
stays with the proxy. What is mangled is the frame or cannot be parsed: never an answer
that parses and says something else, against which TCP guards in life.

Whatever a client had sent before its connection is ended reaches the target, and the
target has read all of it before the client can come again: nothing is processed late.
"""
import argparse
import asyncio
import collections
import os
import random
import socket
import struct
import sys

FRAME_MAX = 100_000_000
API_VERSIONS = 18


class Mangler:
    """Spoils answers of Kafka's. Each way returns bytes, and whether it ends there."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.part = 0.0
        self.counts = collections.Counter()
        self.ways = (
            self.length_large, self.length_wrong, self.length_tiny, self.cut_short,
            self.garbage, self.empty, self.number, self.swallow, self.twice, self.end_inside,
            self.end_before, self.noise,
        )

    def apply(self, api, body):
        if self.rng.random() >= self.part:
            return frame(body), False
        way = self.rng.choice(self.ways)
        self.counts[way.__name__ + (" (api versions)" if api == API_VERSIONS else "")] += 1
        return way(body)

    def length_large(self, body):
        size = self.rng.choice((-1, -(1 << 31), (1 << 31) - 1, 200_000_000, 1_500_000_000))
        return struct.pack(">i", size) + body, False

    def length_wrong(self, body):
        size = len(body) + self.rng.choice((-7, -2, -1, 1, 3, 100, 10_000))
        return struct.pack(">i", max(0, size)) + body, False

    def length_tiny(self, body):
        return struct.pack(">i", self.rng.randint(0, 7)) + body, False

    def cut_short(self, body):
        return frame(body[: self.rng.randint(4, max(4, len(body) - 1))]), False

    def garbage(self, body):
        return frame(body[:4] + self.rng.randbytes(self.rng.randint(0, 300))), False

    def empty(self, body):
        return frame(body[:4]), False

    def number(self, body):
        return frame(self.rng.randbytes(4) + body[4:]), False

    def swallow(self, body):
        return b"", False

    def twice(self, body):
        return frame(body) * 2, False

    def end_inside(self, body):
        whole = frame(body)
        return whole[: self.rng.randint(1, len(whole) - 1)], True

    def end_before(self, body):
        return b"", True

    def noise(self, body):
        return self.rng.randbytes(self.rng.randint(1, 500)), True


def frame(body):
    return struct.pack(">i", len(body)) + body


class KafkaAnswers:
    """One connection's answers: the address in them is changed, some are spoilt."""

    def __init__(self, proxy):
        self.proxy, self.apis, self.up, self.down = proxy, {}, b"", b""

    def frames(self, held):
        while len(held) >= 4:
            size = int.from_bytes(held[:4], "big")
            if size > FRAME_MAX:
                raise ConnectionError
            if len(held) < 4 + size:
                break
            yield held[4 : 4 + size]
            held = held[4 + size :]
        self.rest = held

    def asked(self, data):
        for body in self.frames(self.up + data):
            self.apis[body[4:8]] = int.from_bytes(body[:2], "big")
        self.up = self.rest

    def answered(self, data):
        """The bytes that go to the client; ends with None where the connection does."""
        for body in self.frames(self.down + data):
            body = body.replace(self.proxy.target_address, self.proxy.own_address)
            out, ends = self.proxy.mangler.apply(self.apis.pop(body[:4], -1), body)
            yield out
            if ends:
                yield None
        self.down = self.rest


class Link:
    """A client's connection and the one to the target."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.is_ended = False
        self.kafka = KafkaAnswers(proxy) if proxy.is_kafka else None

    async def flow_up(self):
        reader, writer = self.client[0], self.server[1]
        while data := await reader.read(65536):
            await self.proxy.flowing.wait()
            if self.is_ended:
                return
            if self.kafka:
                self.kafka.asked(data)
            writer.write(data)
            await writer.drain()

    async def flow_down(self):
        reader, writer = self.server[0], self.client[1]
        while data := await reader.read(65536):
            await self.proxy.flowing.wait()
            if self.is_ended:
                continue
            for out in self.kafka.answered(data) if self.kafka else (data,):
                if out is None:
                    return
                writer.write(out)
            await writer.drain()

    async def run(self):
        self.up = asyncio.create_task(self.flow_up())
        self.down = asyncio.create_task(self.flow_down())
        await asyncio.wait((self.up, self.down), return_when=asyncio.FIRST_COMPLETED)
        await self.end(False)
        for task in (self.up, self.down):
            task.cancel()
        await asyncio.gather(self.up, self.down, return_exceptions=True)

    async def end(self, with_reset):
        if self.is_ended:
            return
        self.is_ended = True
        try:
            self.server[1].write_eof()
            # The target has read everything once it has ended its side as well.
            await asyncio.wait((self.down,), timeout=2)
            async with asyncio.timeout(2):
                while await self.server[0].read(65536):
                    pass
        except (OSError, RuntimeError, TimeoutError):
            pass
        self.server[1].transport.abort()
        if with_reset:
            set_reset(self.client[1])
            self.client[1].transport.abort()
        else:
            self.client[1].close()


def set_reset(writer):
    """What abort() does then is a reset."""
    s = writer.get_extra_info("socket")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Proxy:
    def __init__(self, options):
        self.target, self.is_kafka = options.target, options.kafka
        self.mangler = Mangler(options.seed)
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.is_refusing = False
        self.links = set()

    async def accept(self, reader, writer):
        await self.flowing.wait()
        try:
            if self.is_refusing:
                raise OSError
            server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            set_reset(writer)
            writer.transport.abort()
            return
        link = Link(self, (reader, writer), server)
        self.links.add(link)
        await link.run()
        self.links.discard(link)

    async def end_all(self, with_reset):
        await asyncio.gather(*(link.end(with_reset) for link in list(self.links)))

    async def obey(self, word, *arguments):
        if word in ("pass", "cut", "reset", "refuse"):
            self.is_refusing = word == "refuse"
            self.flowing.set()
            self.mangler.part = 0.0
            if word != "pass":
                await self.end_all(word != "cut")
        elif word == "stall":
            self.flowing.clear()
        elif word == "mangle":
            self.mangler.part = float(arguments[0])
        elif word == "count":
            return ", ".join(f"{k} {n}" for k, n in sorted(self.mangler.counts.items()))
        else:
            return "failed: no such command"
        return "ok " + word

    async def run(self, control):
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.target_address = b"127.0.0.1" + struct.pack(">i", self.target)
        self.own_address = b"127.0.0.1" + struct.pack(">i", port)
        os.mkfifo(control, 0o600)
        # Open for writing as well: there is then never an end of the file.
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(commands),
            os.fdopen(os.open(control, os.O_RDWR | os.O_NONBLOCK), "rb", 0),
        )
        print(port, flush=True)
        while line := await commands.readline():
            words = line.decode().split()
            if words:
                print(await self.obey(*words), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("target", type=int)
    parser.add_argument("--control", required=True)
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    try:
        options = parser.parse_args()
        asyncio.run(Proxy(options).run(options.control))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
