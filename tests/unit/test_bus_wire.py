"""The mends of the bus library and the cutting and reading of frames."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialupd.bus.wire import (
    Frames,
    Message,
    MessageFlag,
    MessageType,
    MethodCall,
    SignatureTree,
    Variant,
    WireError,
    decode,
    encode,
    error_reply,
    method_call,
    signal,
    unwrap,
)


def call(body: object = "x", signature: str = "s") -> Message:
    return method_call(MethodCall("org.example", "/org/example", "org.example.A", "Do", signature, [body]))


def round_trip(message: Message) -> Message:
    decoded, _ = decode(bytearray(encode(message, 5)))
    assert decoded is not None
    return decoded


def test_round_trip() -> None:
    body = [Variant("a{sv}", {"key": Variant("(ub)", [7, True])}), ["é", ""]]
    message = method_call(
        MethodCall("org.example", "/a/b", "org.example.A", "Do", "vas", body),
        MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION,
    )
    got = round_trip(message)
    assert (got.path, got.interface, got.member, got.destination) == ("/a/b", "org.example.A", "Do", "org.example")
    assert got.body == body
    assert got.serial == 5
    assert got.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION
    assert unwrap(got.body) == [{"key": [7, True]}, ["é", ""]]


@pytest.mark.parametrize(
    ("text", "sent"), [("a\0b", "a\N{REPLACEMENT CHARACTER}b"), ("\udc80x", "?x"), ("\0", "\N{REPLACEMENT CHARACTER}")]
)
def test_no_string_can_make_the_bus_hang_up(text: str, sent: str) -> None:
    assert round_trip(call(text)).body == [sent]
    nested = signal("/a", "a.b", "C", "a{sv}", [{text: Variant("as", [text])}])
    assert unwrap(round_trip(nested).body) == [{sent: [sent]}]
    error = error_reply(round_trip(call()), "a.b.C", text)
    error.destination = ":1.1"
    assert round_trip(error).body == [sent]


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/a\n"},
        {"interface": "a.b\n"},
        {"member": "C\n"},
        {"destination": "a.b\n"},
    ],
)
def test_a_trailing_newline_is_no_name(fields: dict[str, str]) -> None:
    good = {"path": "/a", "interface": "a.b", "member": "C", "destination": "a.b"}
    Message(**good)
    with pytest.raises(TypeError):
        Message(**{**good, **fields})


def test_a_trailing_newline_is_no_object_path_value() -> None:
    with pytest.raises(ValueError, match="object path"):
        Variant("o", "/a\n")


def test_the_signature_cache_is_bounded() -> None:
    for number in range(2000):
        signature = "(" + "".join("ybnq"[number // 4**place % 4] for place in range(6)) + ")"
        SignatureTree._get(signature)
    assert len(SignatureTree._cache) <= 256


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5), st.data())
def test_every_chunking_gives_the_same_messages(texts: list[str], data: st.DataObject) -> None:
    stream = b"".join(encode(call(text.replace("\0", "")), index + 1) for index, text in enumerate(texts))
    frames = Frames(1 << 20)
    got = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        frames.feed(stream[:size])
        stream = stream[size:]
        while (frame := frames.take()) is not None:
            got.append(decode(frame))
    assert [message.serial for message, _ in got if message] == list(range(1, len(texts) + 1))


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_an_oversized_message_is_skipped(chunk: int) -> None:
    stream = encode(call("x" * 5000), 1) + encode(call("small"), 2) + encode(call("y" * 5000), 3)
    frames = Frames(1000)
    got = []
    for start in range(0, len(stream), chunk):
        frames.feed(stream[start : start + chunk])
        while (frame := frames.take()) is not None:
            got.append(decode(frame))
    assert [message.serial for message, _ in got if message] == [2]
    assert frames.skipped == 2


def test_a_header_without_end_is_skipped() -> None:
    """To check the path of an object takes a second for some megabytes."""
    long = signal("/" + "a" * (1 << 16), "x.y", "Z", "", [])
    frames = Frames(1 << 24)
    frames.feed(encode(long, 1) + encode(call("small"), 2))
    frame = frames.take()
    assert frame is not None
    message, _ = decode(frame)
    assert message is not None and message.serial == 2
    assert (frames.take(), frames.skipped) == (None, 1)


def test_unknown_flags_are_ignored() -> None:
    frame = bytearray(encode(call(), 1))
    frame[2] = 0xF4
    message, _ = decode(frame)
    assert message is not None and message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION


def test_an_unknown_type_is_ignored_and_its_descriptors_counted() -> None:
    message = call()
    message.unix_fds = [5, 6]
    frame = bytearray(encode(message, 1))
    frame[1] = 77
    assert decode(frame) == (None, 2)


def test_a_body_costs_nothing_until_it_is_asked_for() -> None:
    frame = bytearray(encode(signal("/x", "x.y", "Z", "ai", [list(range(1000))]), 1))
    frame[-4000 - 4 : -4000] = struct.pack("<I", 1 << 24)
    message, _ = decode(frame)
    assert message is not None and (message.path, message.signature) == ("/x", "ai")
    for _ in range(2):
        with pytest.raises(WireError):
            _ = message.body


def test_an_unknown_header_field_is_ignored() -> None:
    fields = [
        [1, Variant("o", "/a")],
        [2, Variant("s", "a.b")],
        [3, Variant("s", "C")],
        [99, Variant("as", ["what", "is", "it"])],
    ]
    body = encode(signal("/x", "x.y", "Z", "yyyyuua(yv)", [ord("l"), 4, 0, 1, 0, 9, fields]), 1)
    start = body.rindex(struct.pack("<BBBBII", ord("l"), 4, 0, 1, 0, 9))
    frame = bytearray(body[start:])
    frame += bytes(-len(frame) % 8)
    decoded, _ = decode(frame)
    assert decoded is not None
    assert (decoded.message_type, decoded.path, decoded.member) == (MessageType.SIGNAL, "/a", "C")


def read(frame: bytearray) -> None:
    message, _ = decode(frame)
    if message is not None:
        assert isinstance(message.body, list)


@given(st.binary(min_size=16, max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    for frame in (bytearray(data), bytearray(b"l\1\0\1" + data)):
        try:
            read(frame)
        except WireError:
            pass


@given(st.integers(0, 200), st.integers(0, 255))
def test_any_damage_is_a_message_or_a_wire_error(place: int, value: int) -> None:
    frame = bytearray(encode(call({"a": Variant("aas", [["b"]])}, "a{sv}"), 1))
    frame[place % len(frame)] = value
    try:
        read(frame)
    except WireError:
        pass


def test_a_stream_out_of_step_is_told() -> None:
    frames = Frames(1000)
    frames.feed(b"x" * 16)
    with pytest.raises(WireError):
        frames.take()
