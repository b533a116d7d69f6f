"""One call, from the first dial or ring to its end.

Its state changes by the table in `dialupd.states`; every change publishes a new view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from dialupd.at.connect import Connection
from dialupd.model import CallState, CallView, EndReason, SessionState
from dialupd.sessions.base import Progress, Session
from dialupd.states import CallEvent, call_next

Publish = Callable[[CallView, CallView], None]


class Call:
    """`publish` gets the old and the new view at each change."""

    def __init__(self, view: CallView, publish: Publish, now: Callable[[], int]) -> None:
        self.view = view
        self.began_at = asyncio.get_running_loop().time()
        """Loop time of the dialling or of the first ring."""
        self.dialled = view.state is CallState.CONNECTED
        """Its number was sent to the modem."""
        self.connected_at = 0.0
        """Loop time when the line came up."""
        self._session: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._publish = publish
        self._now = now

    @property
    def ended(self) -> bool:
        return self.view.state is CallState.ENDED

    @property
    def session(self) -> Session | None:
        """The session, while one runs."""
        there = not self.ended and self._session.done() and not self._session.cancelled()
        return self._session.result() if there else None

    @session.setter
    def session(self, session: Session) -> None:
        if not self._session.done():
            self._session.set_result(session)

    async def running(self) -> Session | None:
        """The session; one that is about to begin, because the line is up, is waited for. None when there is none."""
        if self.view.state is CallState.CONNECTED:
            await asyncio.wait({self._session})
        return self.session

    def refreshed(self) -> CallView:
        """The view with what the running session has counted so far; for whoever asks, never published."""
        session = self.session
        if session is None:
            return self.view
        rx, tx = session.counts()
        return replace(self.view, rx_bytes=rx, tx_bytes=tx)

    def set(self, view: CallView) -> None:
        """Publish the view, unless nothing in it is new."""
        old, self.view = self.view, view
        if view != old:
            self._publish(old, view)

    def answering(self, session: str, policy: str) -> None:
        """The call is taken, for a session and by a policy ("" for none)."""
        state = call_next(self.view.state, CallEvent.ANSWER)
        self.set(replace(self.view, state=state, session=session, policy=policy))

    def connected(self, line: Connection) -> None:
        """The modems are connected; `line` is what CONNECT told."""
        self.connected_at = asyncio.get_running_loop().time()
        self.set(
            replace(
                self.view,
                state=call_next(self.view.state, CallEvent.CONNECT),
                connect_time=self._now(),
                line_rate=line.line_rate,
                port_rate=line.port_rate,
                modulation=line.modulation,
                error_control=line.error_control,
                compression=line.compression,
            )
        )

    def end(self, reason: EndReason, detail: str = "") -> None:
        """It is over; the first reason stands. `detail` is a sentence for the log, "" where the reason says all."""
        if self.ended:
            return
        self._session.cancel()
        self.set(
            replace(
                self.view,
                state=call_next(self.view.state, CallEvent.END),
                session_state=SessionState.NONE,
                end_reason=reason,
                end_time=self._now(),
                detail=detail,
            )
        )

    def progress(self, news: Progress) -> None:
        """What became known of the session."""
        if self.ended:
            return
        view = self.view
        self.set(
            replace(
                view,
                session=view.session if news.session is None else news.session,
                session_state=view.session_state if news.session_state is None else news.session_state,
                interface=view.interface if news.interface is None else news.interface,
                local_address=view.local_address if news.local_address is None else news.local_address,
                remote_address=view.remote_address if news.remote_address is None else news.remote_address,
                dns=view.dns if news.dns is None else news.dns,
                rx_bytes=view.rx_bytes if news.rx_bytes is None else news.rx_bytes,
                tx_bytes=view.tx_bytes if news.tx_bytes is None else news.tx_bytes,
            )
        )
