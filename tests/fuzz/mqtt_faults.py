# SPDX-License-Identifier: Apache-2.0
"""MQTT packets as a broker sends them, and as none should.

A fault is a function of a random generator and of the protocol's version (5 or 4). It
returns bytes and whether the stream is in order behind them: where it is not, whoever
sends them has to end the connection.

The packet identifiers of the ledger's messages are none that printable text, small
numbers or a fault's own message could be taken for: a PUBACK with one of them means that
message, but for a chance of one in many thousands where the bytes are random.
"""

VALID_FIRST, VALID_LAST = 0x8001, 0xBFFF
FAULTY_FIRST, FAULTY_LAST = 0xC000, 0xFFFF

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x20, 0x30, 0x40, 0x50, 0x62, 0x70
SUBACK, UNSUBACK, PINGRESP, DISCONNECT, AUTH = 0x90, 0xB0, 0xD0, 0xE0, 0xF0


def varint(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def string(text):
    return len(text).to_bytes(2, "big") + text


def packet(kind, body):
    return bytes([kind]) + varint(len(body)) + body


def properties(version, data=b""):
    return varint(len(data)) + data if version == 5 else b""


def publish(version, topic, payload, qos, mid, dup=False, props=b""):
    body = string(topic)
    if qos > 0:
        body += mid.to_bytes(2, "big")
    body += properties(version, props) + payload
    return packet(PUBLISH | (8 if dup else 0) | qos << 1, body)


def mid_of(rng):
    return rng.randint(FAULTY_FIRST, FAULTY_LAST)


def noise(rng, most=200):
    return rng.randbytes(rng.randint(0, most))


def sample(rng, version):
    """A good packet to be spoilt. Nobody misses it."""
    props = b""
    if version == 5:
        props = b"\x26" + string(b"name") + string(b"value") + b"\x03" + string(b"text/x")
    return publish(version, b"t/fuzz", b"fuzz " * rng.randint(0, 40), 1, mid_of(rng), props=props)


# ---- the frame ----


def wrong_length(rng, version):
    good = sample(rng, version)
    body = good[3:] if good[1] & 128 else good[2:]
    wrong = max(0, len(body) + rng.choice((-5, -3, -2, -1, 1, 2, 7, 100, 5000)))
    if rng.random() < 0.2:
        wrong = rng.randint(0, 8)
    return good[:1] + varint(wrong) + body, False


def endless_length(rng, version):
    return sample(rng, version)[:1] + b"\xff\xff\xff\xff" + noise(rng, 20), False


def announced_too_large(rng, version):
    size = rng.choice((268435455, 200_000_000, 16_777_216))
    return bytes([PUBLISH | 2]) + varint(size) + string(b"t/fuzz") + noise(rng), False


def truncated(rng, version):
    good = sample(rng, version)
    return good[: rng.randint(1, len(good) - 1)], False


def short_body(rng, version):
    """Whole by its length, with too little inside."""
    good = sample(rng, version)
    body = good[3:] if good[1] & 128 else good[2:]
    return packet(good[0], body[: rng.randint(0, min(len(body), 12))]), True


def random_bytes(rng, version):
    return rng.randbytes(rng.randint(1, 600)), False


def bit_flips(rng, version):
    data = bytearray(sample(rng, version))
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data), False


def empty_packet(rng, version):
    return bytes([rng.randrange(256), 0]), True


# ---- kinds that should not come ----


def odd_kind(rng, version):
    kind = rng.choice((0x00, 0x0F, 0x10, 0x82, 0xA2, 0xC0, 0xF0, 0xF3, 0x2F, 0x95, 0xD7))
    return packet(kind, noise(rng, 30)), True


def connack_again(rng, version):
    body = bytes([rng.choice((0, 1, 2, 255)), rng.choice((0, 0, 1, 5, 0x87, 255))])
    return packet(CONNACK, body + properties(version, odd_properties(rng))), True


def stray_answer(rng, version):
    """PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK that nobody waits for."""
    kind = rng.choice((PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, 0x60, 0x42, 0x92))
    body = rng.choice((0, 1, 2, mid_of(rng))).to_bytes(2, "big")
    if rng.random() < 0.5:
        body += rng.randbytes(rng.randint(0, 3))
    if version == 5 and rng.random() < 0.3:
        body += properties(5, odd_properties(rng))
    return packet(kind, body[: rng.randint(0, 9)]), True


def suback_count(rng, version):
    codes = rng.randbytes(rng.choice((0, 2, 17, 300)))
    gap = properties(version, odd_properties(rng) if rng.random() < 0.3 else b"")
    return packet(SUBACK, rng.choice((1, 2, 3)).to_bytes(2, "big") + gap + codes), True


def pingresp(rng, version):
    return packet(PINGRESP, noise(rng, 4) if rng.random() < 0.5 else b""), True


def disconnect(rng, version):
    body = bytes([rng.choice((0, 4, 0x81, 0x8E, 0x93, 0xFF))])
    body += properties(5, odd_properties(rng))
    return packet(rng.choice((DISCONNECT, 0xE2)), body[: rng.randint(0, len(body))]), True


def auth(rng, version):
    body = bytes([rng.choice((0, 0x18, 0x19, 0x80))]) + properties(5, odd_properties(rng))
    return packet(AUTH, body[: rng.randint(0, len(body))]), True


# ---- PUBLISH that breaks a rule ----


def qos_3(rng, version):
    return publish(version, b"t/fuzz", b"fuzz", 3, mid_of(rng)), True


def mid_0(rng, version):
    return publish(version, b"t/fuzz", b"fuzz", 1, 0), True


def qos_2(rng, version):
    mid = mid_of(rng)
    out = publish(version, b"t/fuzz", b"fuzz qos 2", 2, mid)
    for _ in range(rng.randint(0, 2)):
        out += packet(PUBREL, mid.to_bytes(2, "big"))
    return out, True


TOPICS = (
    b"", b"t/\xff\xfe", b"t/\xc0\x80", b"t/\xed\xa0\x80", b"t/\x00", b"t/#", b"+/x", b"t/\x01\x7f",
    b"t/\xf4\x90\x80\x80", b"$SYS/x", b"/" * 300, b"t/" + b"x" * 65533,
)


def odd_topic(rng, version):
    return publish(version, rng.choice(TOPICS), b"fuzz", rng.choice((0, 1)), mid_of(rng)), True


ODD_PROPERTIES = (
    b"\x00", b"\x7f\x01", b"\xff\xff\xff\xff\x7f", b"\x29\x01", b"\x11\x00\x00\x00\x01",  # no such, not here
    b"\x0b\x00", b"\x0b\xff\xff\xff\xff\xff", b"\x0b",  # subscription identifier
    b"\x23\x00\x00", b"\x23\x00\x07", b"\x23\xff",  # topic alias
    b"\x03\x00\x02\xff\xff", b"\x03\xff\xff", b"\x03\x00\x01\x00",  # content type
    b"\x08\x00\x03t/#", b"\x08\x00\x00", b"\x09\xff\xff", b"\x09\x00\x00",  # response, correlation
    b"\x26\x00\x00\x00\x00", b"\x26\x00\x01\xff\x00\x01\xc0", b"\x26\x00\x03abc",  # user property
    b"\x01\x02", b"\x01\xff", b"\x02\x00\x00", b"\x02\x00\x00\x00\x00\x02\x00\x00\x00\x00",
    b"\x1f\x00\x04why?", b"\x1f\xff", b"\x12\x00\x03new", b"\x13\x00\x00", b"\x13\x00\x01",
    b"\x21\x00\x00", b"\x21\x00\x01", b"\x27\x00\x00\x00\x00", b"\x27\x00\x00\x00\x05", b"\x24\x03",
    b"\x22\xff\xff", b"\x25\x02", b"\x28\x00", b"\x2a\x00", b"\x1a\x00\x01x", b"\x1c\x00\x05other",
    b"\x15\x00\x01m", b"\x16\x00\x01d", b"\x17\x05", b"\x19\x09", b"\x18\xff\xff\xff\xff",
)


def odd_properties(rng):
    out = b"".join(rng.choice(ODD_PROPERTIES) for _ in range(rng.randint(0, 3)))
    return out + (noise(rng, 12) if rng.random() < 0.2 else b"")


def publish_properties(rng, version):
    return publish(5, b"t/fuzz", b"fuzz", 1, mid_of(rng), props=odd_properties(rng)), True


def property_length(rng, version):
    """A length of the properties that is not theirs."""
    body = string(b"t/fuzz") + mid_of(rng).to_bytes(2, "big")
    body += rng.choice((b"\xff\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x40", b"\x01", b"\x80"))
    return packet(PUBLISH | 2, body + noise(rng, 30)), True


def deep_properties(rng, version):
    one = b"\x26" + string(b"n" * rng.randint(0, 20)) + string(b"v" * rng.randint(0, 20))
    return publish(5, b"t/fuzz", b"fuzz", 1, mid_of(rng), props=one * rng.randint(100, 3000)), True


def huge_payload(rng, version):
    """Larger than a journal of 64 MiB takes: a gap and a PUBACK."""
    return publish(version, b"t/fuzz", bytes(rng.randint(3 << 20, 6 << 20)), 1, mid_of(rng)), True


IN_SESSION = (
    wrong_length, endless_length, announced_too_large, truncated, short_body, random_bytes,
    bit_flips, empty_packet, odd_kind, connack_again, stray_answer, suback_count, pingresp,
    disconnect, auth, qos_3, mid_0, qos_2, odd_topic, publish_properties, property_length,
    deep_properties, huge_payload,
)


# ---- in place of CONNACK; the stream may be in order behind each of them ----


def connack_properties(rng, version):
    return packet(CONNACK, b"\x00\x00" + properties(5, odd_properties(rng))), True


def connack_refused(rng, version):
    body = bytes([0, rng.choice((1, 2, 3, 4, 5, 6, 0x80, 0x86, 0x87, 0x97, 0x9F, 255))])
    return packet(CONNACK, body + properties(version)), True


def connack_short(rng, version):
    return packet(CONNACK, b"\x00\x00\x00"[: rng.randint(0, 1)]), True


def connack_flags(rng, version):
    return packet(CONNACK, bytes([rng.randint(2, 255), 0]) + properties(version)), True


def other_first(rng, version):
    return rng.choice((sample, lambda r, v: pingresp(r, v)[0]))(rng, version), True


def http(rng, version):
    return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", False


INSTEAD_OF_CONNACK = (
    connack_properties, connack_refused, connack_short, connack_flags, other_first, http,
    random_bytes, auth,
)
