"""What the next daemon is told of a call that goes on without this one.

`memo` writes it when the session begins, `read_memo` checks what an earlier daemon, perhaps of another version, wrote.
What a session tells afterwards is not in it: the session tells it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dialupd.model import RADIO, CallState, CallView, DeviceClass, ModemView, SessionState
from dialupd.radio import Phone, Service
from dialupd.sessions.protocol import LONGEST, Kind, plain, typed

VERSION = 1


class MemoError(Exception):
    """The description cannot be used."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A call in progress.

    `connected` is the loop's clock (CLOCK_MONOTONIC) in milliseconds when the line came up; `counted` is the policy
    that the call counts for, "" for none; `streams` is 1 for a session of type client.  `name` to `device_class` are a
    phone's, as bluetoothd had told them; the last five are what probing had told of the modem.
    """

    device: str
    kind: Kind
    connected: int
    counted: str = ""
    connect_text: str = ""
    shows_carrier: int = 0
    streams: int = 0
    name: str = ""
    service: Service = Service.NONE
    adapter: str = ""
    device_class: DeviceClass = DeviceClass.OTHER
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    capabilities: tuple[str, ...] = ()
    modulations: tuple[str, ...] = ()


_FOUND = ("manufacturer", "model", "firmware", "capabilities", "modulations")


def memo(kept: Kept, view: CallView, modem: ModemView) -> bytes:
    """The description of a call that begins its session."""
    kept = replace(kept, **{name: getattr(modem, name) for name in _FOUND})
    begun = replace(view, session_state=SessionState.STARTING)
    return json.dumps({"version": VERSION, "kept": plain(kept), "call": plain(begun)}).encode()


def read_memo(content: bytes) -> tuple[Kept, CallView]:
    """The description and the call as it was then; raises MemoError."""
    try:
        values = json.loads(content)
        if not isinstance(values, dict) or values.get("version") != VERSION or len(content) > LONGEST:
            raise MemoError("it was written by another version of dialupd")
        kept, view = typed(Kept, values["kept"]), typed(CallView, values["call"])
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise MemoError(f"it is damaged: {error}") from None
    if view.state is not CallState.CONNECTED or view.call == 0:
        raise MemoError("the call was not connected")
    return kept, view


def phone_of(kept: Kept) -> Phone | None:
    """The phone that the call is on; None: it is on none."""
    if not kept.device.startswith(RADIO):
        return None
    address = kept.device.removeprefix(RADIO)
    return Phone(address, kept.name, kept.device_class, kept.adapter, kept.service, paired=True)


def found(view: ModemView, kept: Kept, call: int) -> ModemView:
    """The view of a modem on a call, with what probing had told."""
    values: Mapping[str, object] = {name: getattr(kept, name) for name in _FOUND}
    return replace(view, call=call, **values)  # type: ignore[arg-type]
