"""Calls in a row leave nothing behind: no task, no descriptor, and every one is in the history."""

from __future__ import annotations

import asyncio
import os

from modem_stage import ANSWER, Stage, entry
from modem_stage import stage as stage

from dialupd.model import CallState, Direction, ModemState

CALLS = 25


def held() -> tuple[int, int]:
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))


def test_calls_in_a_row_leave_nothing_behind(stage: Stage) -> None:
    async def body() -> None:
        caller, answerer = await stage.modems("100", "200")

        async def call() -> None:
            number = await stage.connect(caller, "200")
            await stage.state(answerer, ModemState.CONNECTED)
            back = stage.incoming().call
            await stage.desk.hang_up_call(number)
            for one in (number, back):
                await stage.ended(one)
            for modem in (caller, answerer):
                await stage.state(modem, ModemState.READY)
                await stage.settle(modem)

        await call()
        await stage.rows()
        before = held()
        for _ in range(CALLS - 1):
            await call()
        rows = await stage.rows()
        assert held() == before
        assert len(rows) == 2 * CALLS
        assert [row.direction for row in rows].count(Direction.INCOMING) == CALLS
        assert all(row.state is CallState.ENDED for row in rows)

    stage.run(body, ANSWER + entry("100") + entry("200", "in"))
