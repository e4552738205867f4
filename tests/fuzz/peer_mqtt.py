#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tidegate-ingest against a broker that sends nonsense, from a seed.

    peer_mqtt.py [-t SECONDS] [-s SEED] [-k]

Between the nonsense there are numbered messages, and the broker keeps account of those
that it has a PUBACK for. What must hold:
  - ingest never ends but when it is asked to, and then with exit status 0 (one abort is
    known, of libmosquitto 2.0 at a property that MQTT 5 does not have: it is counted);
  - behind a packet that leaves the stream in order it goes on or hangs up, within 30 s;
  - each message that got its PUBACK is in the journal, as it was sent; for each device
    the first of each number are in order; tidegate-dump --check finds nothing.
TOP_BUILDDIR says where the programs are. -k keeps the directory. Exit status 0 or 1.
"""
import argparse
import base64
import collections
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import mqtt_faults as mqtt

TOP = os.environ.get("TOP_BUILDDIR", os.getcwd())
PATIENCE_S = 30  # longer than any wait of ingest's own
DEVICES = 8
SANITIZER = (b"Sanitizer", b"runtime error:")
KNOWN_ABORT = b"log__printf: Assertion `mosq' failed."


class Violation(Exception):
    pass


class Ended(Exception):
    """The connection is over."""


class Aborted(Exception):
    """libmosquitto has ended the process in the way that is known."""


class Ledger:
    """What has been sent, what had its PUBACK, and what waits for one."""

    def __init__(self):
        self.sent = [0] * DEVICES
        self.acked = set()
        self.waiting = collections.OrderedDict()  # packet identifier: message
        self.next_mid = mqtt.VALID_FIRST
        self.repeated = 0

    def make(self, rng):
        device = rng.randrange(DEVICES)
        self.sent[device] += 1
        text = f"dev-{device} {self.sent[device]} " + "x" * rng.randint(0, 100)
        mid, self.next_mid = self.next_mid, self.next_mid + 1
        if self.next_mid > mqtt.VALID_LAST:
            self.next_mid = mqtt.VALID_FIRST
        if mid in self.waiting:
            raise Violation("16,383 messages wait for their PUBACK")
        self.waiting[mid] = (device, self.sent[device], text.encode())
        return mid

    def take_puback(self, mid):
        message = self.waiting.pop(mid, None)
        if message:
            self.acked.add(message[:2])

    def judge(self, lines):
        """The journal's records against what was acknowledged: (lost, reordered, wrong)."""
        latest, seen = [0] * DEVICES, set()
        reordered = wrong = 0
        for line in lines:
            record = json.loads(line)
            if not record.get("topic", "").startswith("t/dev-"):
                continue
            text = base64.b64decode(record["payload"])
            words = text.split(b" ")
            try:
                device, number = int(words[0][4:]), int(words[1])
            except (ValueError, IndexError):
                wrong += 1
                continue
            wrong += number > self.sent[device]
            if (device, number) not in seen:
                reordered += number < latest[device]
                latest[device] = max(latest[device], number)
            seen.add((device, number))
        return len(self.acked - seen), reordered, wrong


class Ingest:
    """The worker, alone, on a journal of its own."""

    def __init__(self, work, port):
        self.work, self.port, self.process = work, port, None
        self.log = open(os.path.join(work, "ingest.log"), "ab")
        os.mkdir(os.path.join(work, "journal"))
        self.starts = 0

    def start(self, version):
        conf = os.path.join(self.work, "tidegate.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(
                f'gateway_id = "fuzz";\n'
                f'mqtt = {{ host = "127.0.0.1"; port = {self.port}; protocol = {version}; }};\n'
                f'journal = {{ directory = "{self.work}/journal"; max_bytes = "64 MiB";'
                f' commit_max_messages = 50; }};\n'
                f'kafka = {{ bootstrap_servers = "127.0.0.1:9"; }};\n'
                f'routes = ( {{ name = "r"; topic_filters = [ "t/#" ]; topic = "records";'
                f' envelope = "none"; }} );\n'
            )
        self.process = subprocess.Popen(
            [f"{TOP}/tidegate-ingest", "-c", conf],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        self.starts += 1

    def must_live(self):
        if self.process.poll() is not None:
            self.judge_end(self.process.returncode, None)

    def end(self, number):
        self.must_live()
        self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as e:
            raise Violation("ingest does not end when it is asked to") from e
        if status != (0 if number == signal.SIGTERM else -number):
            self.judge_end(status, number)

    def judge_end(self, status, asked):
        with open(self.log.name, "rb") as log:
            log.seek(-min(500, os.path.getsize(self.log.name)), os.SEEK_END)
            if status == -signal.SIGABRT and KNOWN_ABORT in log.read():
                raise Aborted
        raise Violation(f"ingest ended with status {status}, asked by signal {asked}")


class Connection:
    """One connection of ingest's: its packets, and ours."""

    def __init__(self, peer, connection):
        self.peer, self.socket, self.held = peer, connection, b""
        self.greeted = self.subscribed = False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(PATIENCE_S)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as e:
            raise Ended from e

    def send_slowly(self, data):
        for byte in data:
            self.send(bytes([byte]))
            if self.peer.rng.random() < 0.05:
                time.sleep(0.002)

    def packets(self):
        while len(self.held) >= 2:
            size, shift, at = 0, 0, 1
            while at < len(self.held):
                size |= (self.held[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if self.held[at - 1] < 128:
                    break
            else:
                return
            if len(self.held) < at + size:
                return
            kind, body = self.held[0], self.held[at : at + size]
            self.held = self.held[at + size :]
            yield kind, body

    def read(self, wait_s):
        """Take what is there; false where nothing came in time."""
        if not select.select([self.socket], [], [], wait_s)[0]:
            return False
        try:
            data = self.socket.recv(65536)
        except OSError as e:
            raise Ended from e
        self.held += data
        for kind, body in self.packets():
            self.take(kind, body)
        if not data:
            raise Ended
        return True

    def take(self, kind, body):
        if kind >> 4 == 1:
            at = 2 + int.from_bytes(body[:2], "big")
            self.peer.version = body[at]
            self.greeted = True
        elif kind == mqtt.PUBACK:
            self.peer.ledger.take_puback(int.from_bytes(body[:2], "big"))
        elif kind >> 4 == 8:
            self.subscribed = True
            gap = mqtt.properties(self.peer.version)
            self.send(mqtt.packet(mqtt.SUBACK, body[:2] + gap + b"\x01"))
        elif kind >> 4 == 12:
            self.send(mqtt.packet(mqtt.PINGRESP, b""))

    def read_to_end(self):
        """Nothing more from us; what it still says counts."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            until = time.monotonic() + PATIENCE_S
            while time.monotonic() < until:
                self.read(1)
            raise Violation("ingest keeps a connection whose other side has ended")
        except (OSError, Ended):
            self.socket.close()

    def wait_for(self, condition):
        """Until then, or the end of the connection."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            self.peer.ingest.must_live()
            if time.monotonic() > until:
                raise Violation("ingest neither goes on nor hangs up")
            self.read(0.5)


class Peer:
    def __init__(self, seed, work):
        self.rng = random.Random(seed)
        self.ledger = Ledger()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.ingest = Ingest(work, self.listener.getsockname()[1])
        self.version = 5
        self.has_session = False
        self.counts = collections.Counter()
        self.latest = collections.deque(maxlen=6)  # faults, for who looks into a violation
        self.stays = 0  # connections in a row that one process has made

    def accept(self):
        until = time.monotonic() + 3 * PATIENCE_S
        while not select.select([self.listener], [], [], 0.5)[0]:
            self.ingest.must_live()
            if time.monotonic() > until:
                raise Violation("ingest does not connect")
        return Connection(self, self.listener.accept()[0])

    def publish(self, mid, dup):
        device, _, text = self.ledger.waiting[mid]
        props = b""
        if self.version == 5 and device % 2:
            props = b"\x26" + mqtt.string(b"device") + mqtt.string(b"%d" % device)
        return mqtt.publish(self.version, b"t/dev-%d" % device, text, 1, mid, dup, props)

    def fault(self, c, which):
        data, is_in_order = which(self.rng, self.version)
        self.counts[which.__name__] += 1
        self.latest.append(f"{which.__name__} {data[:60].hex()}")
        if self.rng.random() < 0.1 and len(data) < 2000:
            c.send_slowly(data)
        else:
            c.send(data)
        if not is_in_order:
            c.read(self.rng.choice((0, 0.002, 0.02)))
            raise Ended

    def begin(self, c):
        c.wait_for(lambda: c.greeted)
        is_answered = self.rng.random() > 0.15
        if not is_answered:
            self.fault(c, self.rng.choice(mqtt.INSTEAD_OF_CONNACK))
            is_answered = self.rng.random() < 0.5
        if is_answered:
            self.connack(c)
        for mid in list(self.ledger.waiting):
            self.ledger.repeated += 1
            c.send(self.publish(mid, True))
        if not is_answered:  # it would wait for CONNACK for 20 s
            c.read(0.05)
            raise Ended

    def connack(self, c):
        session = b"\x01" if self.has_session else b"\x00"
        c.send(mqtt.packet(mqtt.CONNACK, session + b"\x00" + mqtt.properties(self.version)))
        if not self.has_session and self.rng.random() < 0.7:
            c.wait_for(lambda: c.subscribed)
            self.has_session = True

    def round(self, c):
        """Some messages, or a fault."""
        choice = self.rng.random()
        if choice < 0.4:
            self.fault(c, self.rng.choice(mqtt.IN_SESSION))
        elif choice < 0.9:
            data = b"".join(
                self.publish(self.ledger.make(self.rng), False)
                for _ in range(self.rng.randint(1, 30))
            )
            slow = self.rng.random() < 0.05
            (c.send_slowly if slow else c.send)(data)
        else:
            c.wait_for(lambda: not self.ledger.waiting)
        while c.read(self.rng.choice((0, 0, 0.001, 0.02))):
            pass

    def serve(self, c):
        try:
            self.begin(c)
            for _ in range(self.rng.randint(1, 12)):
                self.round(c)
            if self.rng.random() < 0.5:
                c.wait_for(lambda: not self.ledger.waiting)
            elif self.rng.random() < 0.3:  # the end inside a packet
                whole = self.publish(self.ledger.make(self.rng), False)
                c.send(whole[: self.rng.randint(1, len(whole) - 1)])
        except Ended:
            pass
        c.read_to_end()

    def next_process(self):
        """Most connections are a process's only one: its back-off grows with each."""
        choice = self.rng.random()
        version = self.rng.choice((4, 5))
        if self.ingest.process is None:
            self.ingest.start(version)
        elif choice > 0.04 or self.stays > 1:
            self.ingest.end(signal.SIGKILL if choice < 0.15 else signal.SIGTERM)
            self.ingest.start(version)
            self.stays = 0
        else:
            self.stays += 1

    def run(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.latest.append("connection")
            try:
                self.next_process()
                self.serve(self.accept())
            except Aborted:
                self.counts["known aborts"] += 1
                self.ingest.process = None
            self.counts["connections"] += 1
        self.heal()

    def heal(self):
        """A broker in its right mind: everything that waits must be taken."""
        if self.ingest.process:
            self.ingest.process.kill()
            self.ingest.process.wait()
        self.ingest.start(5)
        c = self.accept()
        c.wait_for(lambda: c.greeted)
        c.send(mqtt.packet(mqtt.CONNACK, b"\x01\x00\x00"))
        for mid in list(self.ledger.waiting):
            c.send(self.publish(mid, True))
        c.wait_for(lambda: not self.ledger.waiting)
        self.ingest.process.send_signal(signal.SIGTERM)
        c.read_to_end()
        if self.ingest.process.wait(PATIENCE_S) != 0:
            raise Violation("ingest does not end with status 0")


def dump(work, *args):
    return subprocess.run(
        [f"{TOP}/tidegate-dump", "-d", f"{work}/journal", *args],
        stdout=subprocess.PIPE, check=True,
    ).stdout.splitlines()


def verdict(peer, work):
    lost, reordered, wrong = peer.ledger.judge(dump(work, "--json"))
    dump(work, "--check")
    with open(f"{work}/ingest.log", "rb") as log:
        found = [line for line in log if any(word in line for word in SANITIZER)]
    sent = sum(peer.ledger.sent)
    print(
        f"# {peer.counts.pop('connections')} connections, {peer.ingest.starts} processes; "
        f"{sent} messages, {len(peer.ledger.acked)} acknowledged, {peer.ledger.repeated} sent again; "
        f"lost {lost}, reordered {reordered}, wrong {wrong}"
    )
    print("# " + ", ".join(f"{name} {count}" for name, count in sorted(peer.counts.items())))
    if found:
        raise Violation(found[0].decode(errors="replace").strip())
    if lost or reordered or wrong or len(peer.ledger.acked) != sent:
        raise Violation("the ledger")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-t", type=float, default=10, dest="seconds")
    parser.add_argument("-s", type=int, default=random.SystemRandom().randrange(1 << 31), dest="seed")
    parser.add_argument("-k", action="store_true", dest="keep")
    o = parser.parse_args()
    work = tempfile.mkdtemp(prefix="tidegate-fuzz-")
    peer = Peer(o.seed, work)
    print(f"# seed {o.seed}", flush=True)
    why = None
    try:
        peer.run(o.seconds)
        verdict(peer, work)
    except (Violation, subprocess.CalledProcessError) as e:
        why = e
    finally:
        if peer.ingest.process and peer.ingest.process.poll() is None:
            peer.ingest.process.kill()
    if why is None:
        print("ok - tidegate-ingest against a broker that sends nonsense")
    else:
        print(f"not ok - tidegate-ingest against a broker that sends nonsense: {why}")
        print(f"# the latest faults: {'; '.join(peer.latest)}")
        print(f"# kept: {work}")
    if why is None and not o.keep:
        shutil.rmtree(work)
    return 0 if why is None else 1


if __name__ == "__main__":
    sys.exit(main())
