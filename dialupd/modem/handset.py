"""What a mobile phone says for its owner, not for us: its battery, its signal, and calls that are not for a modem.

A call for a person, a fax or a packet context rings on a phone as well.  Taking it (ATA) would put a private call on a
speaker that nobody hears, turning it away (ATH) would hang up on a friend; so it is only mentioned, and left alone.
Which calls are for us the phone says in +CRING; a bare RING is not trusted, as it may be anybody.

A phone that names no data service calls a person when it is dialled a number.  If nobody picks up it never says the OK
that would tell, and the next try would ring the same person.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from dialupd.at import phone
from dialupd.at.results import is_ring
from dialupd.model import EndReason, ModemView

PRIVATE = "a call that is no data call came in ({kind}); it is left to the phone's owner"
RANG = "the phone names no data service, so it called by voice; no policy has it do that again by itself"
_NOT_TAKEN = (EndReason.BUSY, EndReason.NO_ANSWER, EndReason.NO_CARRIER, EndReason.TIMEOUT)
_KIND = 24
"""Characters shown of what +CRING says."""


def private_call(text: str) -> str:
    """What to say of a ring that is not for us; "" for anything else."""
    if not is_ring(text) or phone.is_data_ring(text):
        return ""
    return PRIVATE.format(kind=text.strip().removeprefix("+CRING:").strip()[:_KIND])


def rang_a_person(number: str, capabilities: Collection[str], reason: EndReason) -> str:
    """What to say of a dialling that has failed, if all that the phone can have done is to call a person; else ""."""
    speaks = "gsm" in capabilities and "data" not in capabilities
    return RANG if speaks and reason in _NOT_TAKEN and phone.may_be_spoken(number) else ""


def levels(view: ModemView, known: tuple[phone.Indicator, ...], text: str) -> ModemView:
    """The view after an indicator has changed; the same after any other line."""
    match phone.event(text, known):
        case (phone.Indicator("battchg") as bars, value):
            return replace(view, battery=phone.estimate(view.battery, bars, value, 0, 100))
        case (phone.Indicator("signal") as bars, value):
            return replace(view, signal=phone.estimate(view.signal, bars, value, phone.WEAKEST, phone.STRONGEST))
        case _:
            return view
