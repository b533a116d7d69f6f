"""What a mobile phone says for its owner, not for us: its battery, its signal, and calls that are not for a modem.

A call for a person, a fax or a packet context rings on a phone as well.  Taking it (ATA) would put a private call on a
speaker that nobody hears, turning it away (ATH) would hang up on a friend; so it is only mentioned, and left alone.
Which calls are for us the phone says in +CRING; a bare RING is not trusted, as it may be anybody.
"""

from __future__ import annotations

from dataclasses import replace

from dialupd.at import phone
from dialupd.at.results import is_ring
from dialupd.model import ModemView

PRIVATE = "a call that is no data call came in ({kind}); it is left to the phone's owner"
_KIND = 24
"""Characters shown of what +CRING says."""


def private_call(text: str) -> str:
    """What to say of a ring that is not for us; "" for anything else."""
    if not is_ring(text) or phone.is_data_ring(text):
        return ""
    return PRIVATE.format(kind=text.strip().removeprefix("+CRING:").strip()[:_KIND])


def levels(view: ModemView, known: tuple[phone.Indicator, ...], text: str) -> ModemView:
    """The view after an indicator has changed; the same after any other line."""
    match phone.event(text, known):
        case (phone.Indicator("battchg") as bars, value):
            return replace(view, battery=phone.estimate(view.battery, bars, value, 0, 100))
        case (phone.Indicator("signal") as bars, value):
            return replace(view, signal=phone.estimate(view.signal, bars, value, phone.WEAKEST, phone.STRONGEST))
        case _:
            return view
