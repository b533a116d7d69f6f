"""Taking a call over from an earlier daemon: the owner stands as if it had begun the call itself."""

from __future__ import annotations

import asyncio
from functools import partial

from dialupd.inheritance import Left
from dialupd.io.journal import marked
from dialupd.modem import reach
from dialupd.modem.call import Call
from dialupd.modem.channel import Channel
from dialupd.modem.kept import found
from dialupd.modem.owner import Modem
from dialupd.sessions.unit import PORT


def resume(modem: Modem, left: Left, call: Call) -> None:
    """Before the owner's task begins, in the state CONNECTED; what is `left` is the owner's from now on."""
    kept = left.kept
    descriptors = dict(left.descriptors)
    port = modem.host.adopt_port(
        modem.device,
        modem.entry.speed,
        modem.entry.flow,
        descriptors.pop(PORT),
        carrier_counts=bool(kept.shows_carrier),
    )
    port.on_lost = partial(reach.port_lost, modem)
    modem.channel = Channel(port, modem.id, modem.unsolicited, modem.stray, handed_over=True)
    modem.call = call
    call.connected_at = kept.connected / 1000
    modem.connect_text = kept.connect_text
    modem.dialled_policy = modem.host.policy(kept.counted) if kept.counted else None
    modem.show(found(modem.view, kept, call.view.call))
    # It is not known what the modem is set up for: after the call it is set up anew.
    modem.applied = None
    session = modem.host.runner.resumed(
        kept.kind, call.view.call, call.progress, descriptors, streams=bool(kept.streams)
    )
    call.session = session
    modem.session_task = asyncio.create_task(
        session.run(),
        name=f"{modem.id}: session {call.view.session}",
        context=marked(MODEM=modem.id, CALL=call.view.call),
    )
