"""A modem's only owner: its state, and the one task that acts in it.

`run()` holds one activity for each state (`activities`).  An activity ends by giving a `Step`, the event that comes
next and why, which moves the state in the same turn of the loop; a request (`requests`) or something from outside moves
it at once (`move`) and cancels the activity, whose work the activity of the new state takes up.  So the state is always
true, two requests can never both succeed, nothing comes between a decision and its step, and no activity ever runs in
a state that is not its own.  `move` is the only caller of the transition function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace

from dialupd.at.callerid import CallerId, collect
from dialupd.at.results import Final, Result, is_ring
from dialupd.config.values import Mode, ModemEntry, Policy
from dialupd.io.port import Lost
from dialupd.model import CallState, CallView, Device, Direction, EndReason, ModemState, ModemView
from dialupd.modem import handset, timing
from dialupd.modem.call import Call
from dialupd.modem.callback import CallBacks
from dialupd.modem.calling import Plan
from dialupd.modem.channel import Channel
from dialupd.modem.host import Host, Memory
from dialupd.modem.pauses import Pauses
from dialupd.modem.probe import Findings
from dialupd.modem.steps import Ending, Step
from dialupd.policy import FirstCall, first_call
from dialupd.sessions.base import SessionEnd
from dialupd.states import BOUNDED, IDLE, IN_CALL, ModemEvent, modem_next

RESTING = "at rest: the line is opened when it is wanted"

Activity = Callable[["Modem"], Awaitable[Step]]


class Modem:
    """One modem from the moment its device appears until it is gone; `run()` is awaited once."""

    def __init__(
        self,
        host: Host,
        memory: Memory,
        view: ModemView,
        device: Device,
        entry: ModemEntry,
        activities: Mapping[ModemState, Activity],
    ) -> None:
        self.host = host
        self.memory = memory
        self.device = device
        self.entry = entry
        self.view = view
        self.channel: Channel | None = None
        self.applied: ModemEntry | None = None
        """The entry that the modem is initialised for; None after anything that may have changed its settings."""
        self.plan: Plan | None = None
        self.call: Call | None = None
        self.dialled_policy: Policy | None = None
        """The policy that the outgoing call counts for."""
        self.call_backs = CallBacks(view.id, memory.called_back)
        self.first_call: FirstCall | None = None
        """A call that has rung in vain and announces a second one; its times are the loop's."""
        self.ending = Ending(EndReason.MODEM_ERROR)
        self.session_task: asyncio.Task[SessionEnd] | None = None
        self.connect_text = ""
        self.findings = Findings()
        self.carrier_lost = asyncio.Event()
        self.trouble = ""
        """Why the modem could not be reached by radio when that was last asked, whatever is done; "" for no trouble."""
        self.lost = Lost.HUNG_UP
        """How the line was lost, once `line_lost` is set."""
        self.line_lost = asyncio.Event()
        self.line_wanted = 0
        """So many commands wait for the line of a modem that rests."""
        self.used_at = 0.0
        """Loop time at which the line was last used, for a call or a command."""
        self.collided = False
        """The line rang while we were dialling."""
        self.stale = False
        """What is known of the modem may not be true any more: it is probed again as soon as it is idle."""
        self.pauses = Pauses()
        self.unplugged = False
        self.caller = CallerId()
        self._caller_at = 0.0
        self._activities = activities
        self._loop = asyncio.get_running_loop()
        self._busy_since = self._loop.time()
        self._turning = True
        """An activity is to end, or the next to begin: since `_busy_since`, which is else when the activity began."""
        self._deaf_until = 0.0
        self._private = False
        """The last ring was not for us: nor is the number that follows it."""
        self._kept = False
        self._over = False
        self._activity: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()

    @property
    def id(self) -> str:
        return self.view.id

    @property
    def state(self) -> ModemState:
        return self.view.state

    @property
    def over(self) -> bool:
        """It is gone, and so is its task."""
        return self._over

    @property
    def on_demand(self) -> bool:
        """The line is opened only when it is wanted, and closed again."""
        return self.device.on_demand and not self.entry.keep_connected

    @property
    def is_phone(self) -> bool:
        """It may place voice calls."""
        return self.device.radio or self.findings.gsm

    @property
    def unsure(self) -> bool:
        """It may have a voice call of ours of which nobody has seen the end."""
        return self.is_phone and self.memory.unsure is not None

    @property
    def hung(self) -> bool:
        """What the owner does should have ended long since; a command line to the modem shows that it goes on."""
        since, channel = self._busy_since, self.channel
        if not self._turning:
            if self.state not in BOUNDED or (channel is not None and channel.taken_from(self._activity)):
                return False
            since = max(since, channel.turn_since if channel is not None else 0.0)
        limit = timing.HUNG + (self.plan.timeout if self.plan is not None else 0.0)
        return self._loop.time() - since > limit

    @property
    def policy(self) -> Policy | None:
        """The policy in force."""
        name = self.entry.policy if self.memory.policy is None else self.memory.policy
        return self.host.policy(name)

    def policy_for(self, direction: Direction) -> Policy | None:
        """The policy in force, if it is one for such calls: nobody who dials in gets what is meant for dialling out."""
        policy = self.policy
        other = Mode.ANSWER if direction is Direction.OUTGOING else Mode.ORIGINATE
        return policy if policy is not None and policy.mode is not other else None

    # -- the task

    async def run(self) -> None:
        """Act until cancelled: the port is closed then, and a call is ended as lost with the modem."""
        try:
            while True:
                self._activity = asyncio.create_task(self._act(), name=f"{self.id}: {self.state}")
                self._busy_since, self._turning = self._loop.time(), False
                try:
                    await self._activity
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if task is not None and task.cancelling():
                        raise
        finally:
            self.turn()
            self._activity = None
            await self._leave()
            self._over = True
            self._settled.set()

    async def _act(self) -> None:
        step = await self._activities[self.state](self)
        self.move(step.event, step.reason)

    def keep_call(self) -> bool:
        """Let the call go on when the task is cancelled, for the next daemon; False where it cannot."""
        session = self.call.session if self.call is not None else None
        self._kept = self.state is ModemState.CONNECTED and session is not None and self.host.runner.detach(session)
        return self._kept

    async def _leave(self) -> None:
        session, self.session_task = self.session_task, None
        if session is not None:
            session.cancel()
            await asyncio.wait({session})
        self.call_backs.cancel("its modem is gone, or the daemon ends")
        if self._kept:
            channel, self.channel = self.channel, None
            if channel is not None:
                channel.port.leave()
            return
        ending = self.ending if self.state is ModemState.HANGING_UP else Ending(EndReason.MODEM_LOST)
        if self.unplugged:
            ending = ending.modem_lost()
        self.end_call(ending.reason, ending.detail, hopeless=ending.hopeless)
        self.close_port()

    def turn(self) -> None:
        """The activity is to end now; how long that takes counts for `hung`."""
        if not self._turning:
            self._busy_since, self._turning = self._loop.time(), True

    async def settled(self) -> None:
        """Until no call is in progress, or the modem is gone."""
        await self.out_of(IN_CALL)

    async def out_of(self, states: Collection[ModemState]) -> None:
        """Until the modem is in none of the states, or gone."""
        while self.state in states and not self._over:
            self._settled.clear()
            await self._settled.wait()

    # -- state

    def move(self, event: ModemEvent, reason: str) -> None:
        """Change the state by the table, publish, and let the activity of the new state begin."""
        old = self.state
        new = modem_next(old, event)
        changes = replace(self.view, state=new, state_reason=reason, next_attempt=0)
        if new is not old:
            changes = replace(changes, state_since=self.host.now())
        if new not in IN_CALL:
            changes = replace(changes, call=0, rings=0, caller_id="")
        if new in IDLE and old not in IDLE:
            self.used()
        self.show(changes)
        self.restart()
        self._settled.set()

    def show(self, view: ModemView) -> None:
        """Publish the view, unless nothing in it is new."""
        old, self.view = self.view, view
        if old != view:
            self.host.modem_changed(old, view)

    def restart(self) -> None:
        """Let the state's activity begin anew: what it decided by has changed."""
        if self._activity is not None and self._activity is not asyncio.current_task():
            self.turn()
            self._activity.cancel()

    # -- the port

    def close_port(self) -> None:
        channel, self.channel = self.channel, None
        if channel is not None:
            self.pauses.closed(self._loop.time())
            channel.port.on_lost = None
            channel.port.close()
            channel.lost(Lost.GONE)  # a person's command may be in flight

    def rest(self) -> None:
        """Close the line of a modem that waits for nothing; it is opened again when it is wanted."""
        self.close_port()
        if self.state is ModemState.READY:
            self.show(replace(self.view, state_reason=RESTING))

    def used(self) -> None:
        """The line was of use until now."""
        self.used_at = self._loop.time()

    # -- what the modem says

    def unsolicited(self, text: str) -> None:
        """A line that no command asked for."""
        if self.findings.gsm:
            self.show(handset.levels(self.view, self.findings.indicators, text))
            if self.state is not ModemState.DIALING and (what := handset.private_call(text)):
                self._leave_alone(what)
                return
            self._private = self._private and not is_ring(text)
        if self.state in IDLE or self.state is ModemState.RINGING:
            now = self._loop.time()
            if self.state in IDLE and now - self._caller_at > timing.RING_TIMEOUT:
                self.caller = CallerId()
            if now >= self._deaf_until and not self._private:
                self.caller = collect(self.caller, text)
                self._caller_at = now
            if self.call is not None and self.state is ModemState.RINGING:
                self._show_caller(self.call)
        if is_ring(text):
            self._rings()

    def stray(self, result: Result) -> None:
        """A result without a command: the line's own news while it rings, stale otherwise."""
        if self.state is ModemState.RINGING and result.code is Final.NO_CARRIER:
            self.rings_end("the caller gave up")

    def _leave_alone(self, what: str) -> None:
        self._private = True
        if self.state in IDLE:
            self.caller = CallerId()
        if self.state is ModemState.READY:  # else the reason tells why it is blocked
            self.show(replace(self.view, state_reason=what))

    def _rings(self) -> None:
        if self.state is ModemState.DIALING:
            self.collided = True
            return
        if self.state in IDLE:
            now = self._loop.time()
            if now < self._deaf_until:
                self._deaf_until = now + timing.RING_TIMEOUT
                return
            policy = self.policy_for(Direction.INCOMING)
            call = self.new_call(Direction.INCOMING, policy=policy.name if policy is not None else "")
            self.show(replace(self.view, rings=1))
            self._show_caller(call)
        elif self.state is ModemState.RINGING:
            self.show(replace(self.view, rings=self.view.rings + 1))
        else:
            return
        info: dict[str, str | int] = {"rings": self.view.rings}
        known = {"caller-id": self.caller.number, "caller-name": self.caller.name, "withheld": self.caller.withheld}
        info |= {key: value for key, value in known.items() if value}
        self.host.ringing(self.id, info)
        self.move(ModemEvent.RING, f"ring {self.view.rings}")

    def _show_caller(self, call: Call) -> None:
        call.set(replace(call.view, caller_id=self.caller.number, caller_name=self.caller.name))
        self.show(replace(self.view, caller_id=self.caller.number))

    def rings_end(self, why: str) -> None:
        """The line has stopped ringing."""
        self.move(ModemEvent.RINGS_END, self.rang(why))

    def rang(self, why: str) -> str:
        """End a call that has rung in vain; what comes next, for whoever looks at the modem."""
        policy = self.policy
        if policy is not None and self.host.suspended(policy.name):
            policy = None
        self.first_call = first_call(policy, self.view.rings, self.caller.number, self._loop.time())
        self.end_call(EndReason.NO_ANSWER, "the caller gave up before anybody answered")
        if policy is None or self.first_call is None:
            return why
        return f"{why}; who calls again within {policy.ring_back:g} s is answered"

    def ignore_rings(self) -> None:
        """Do not take the rings that still come for a new call."""
        self._deaf_until = self._loop.time() + timing.RING_TIMEOUT

    # -- calls

    def new_call(self, direction: Direction, number: str = "", policy: str = "", session: str = "") -> Call:
        """Begin a call and publish it."""
        view = CallView(
            call=0,
            modem=self.id,
            direction=direction,
            number=number,
            policy=policy,
            session=session,
            state=CallState.DIALING if direction is Direction.OUTGOING else CallState.RINGING,
            start_time=self.host.now(),
        )
        self.call = call = self.host.new_call(view)
        self.show(replace(self.view, call=call.view.call))
        return call

    def end_call(self, reason: EndReason, detail: str = "", *, hopeless: bool = False) -> None:
        """The call in progress, if any, is over; `hopeless`: its policy does not dial again by itself."""
        call, self.call = self.call, None
        self.caller = CallerId()
        self.plan = None
        policy, self.dialled_policy = self.dialled_policy, None
        if call is None:
            return
        self.host.runner.forget(call.view.call)
        call.end(reason, detail)
        view = call.view
        self.call_backs.ended(reason, self._loop.time(), connected=view.connect_time > 0)
        if policy is not None:
            connected = (view.end_time - view.connect_time) / 1e6 if view.connect_time else 0.0
            before = self.host.calls_today(self.id, policy)
            self.memory.redialer.ended(
                policy,
                reason,
                connected,
                self._loop.time(),
                self.host.today(),
                before,
                hopeless=detail if hopeless else "",
                dialled=call.dialled,
            )
