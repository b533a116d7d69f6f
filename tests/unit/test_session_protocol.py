"""What a daemon and a session's unit say to each other, also where the other is of an earlier version."""

from __future__ import annotations

import json

import pytest

from dialupd.model import EndReason
from dialupd.sessions.base import SessionEnd
from dialupd.sessions.protocol import Ended, decode, encode


@pytest.mark.parametrize("hopeless", [True, False])
def test_an_end_and_whether_there_is_hope(hopeless: bool) -> None:
    ended = Ended(SessionEnd(EndReason.SESSION_FAILED, "there is no pppd", hopeless))
    assert decode(encode(ended)) == ended


def test_an_end_as_a_session_of_an_earlier_version_tells_it() -> None:
    packet = json.dumps({"is": "ended", "reason": "idle", "detail": ""}).encode()
    assert decode(packet) == Ended(SessionEnd(EndReason.IDLE))
