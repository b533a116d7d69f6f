"""Our own encoding of a message says the same as the library's."""

from __future__ import annotations

import pytest

from dialupd.bus.wire import (
    Message,
    MessageFlag,
    MessageType,
    MethodCall,
    Variant,
    decode,
    encode,
    error_reply,
    method_call,
    reply,
    signal,
)

CALL = method_call(MethodCall("org.a.b", "/", "org.x", "Do", "s", ["é"]), MessageFlag.NO_AUTOSTART)
CALL.sender, CALL.serial = ":1.7", 3

MESSAGES = {
    "signal": signal("/a/b", "org.x.Y", "Changed", "sa{sv}as", ["i", {"k": Variant("t", 1 << 50)}, []]),
    "signal without a body": signal("/", "org.x.Y", "Gone", "", []),
    "call": CALL,
    "reply": reply(CALL, "ay", [b"\0\1"]),
    "reply without a body": reply(CALL, "", []),
    "reply with a descriptor": reply(CALL, "h", [0], [1]),
    "error": error_reply(CALL, "org.x.Error.No", "it is not so"),
    "call without an interface": Message(path="/a", member="Do", message_type=MessageType.METHOD_CALL),
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_the_same_as_the_library(message: Message) -> None:
    ours = encode(message, 9)
    theirs = bytes(message._marshall(negotiate_unix_fd=True))
    assert len(ours) == len(theirs)
    mine, its = decode(bytearray(ours)), decode(bytearray(theirs))
    assert mine[0] is not None and its[0] is not None
    assert mine[0].body == its[0].body
    assert (vars(mine[0]), mine[1]) == (vars(its[0]), its[1])
