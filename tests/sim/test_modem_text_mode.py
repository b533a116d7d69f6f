"""A modem that waits for text behind a prompt gets none, and answers commands again."""

from __future__ import annotations

import pytest
from modem_stage import Scripted, Stage, entry
from modem_stage import stage as stage

ESC = "\x1b"


class Texting(Scripted):
    """Like a phone at AT+CMGS: what is sent behind the prompt is its text, until ESC drops it."""

    prompt = "\r\n> "
    texting = False

    def received(self, data: bytes) -> None:
        for char in data.decode("latin-1"):
            if not self.texting:
                super().received(char.encode("latin-1"))
            elif char == ESC:
                self.texting = False
                self.say("\r\nOK\r\n")
            elif char == "\r":
                self.say(self.prompt)

    def say(self, text: str) -> None:
        if text == "text":
            text, self.texting = self.prompt, True
        super().say(text)


class Left(Texting):
    """Some program has left it at its prompt."""

    texting = True


class Mute(Left):
    """So has it this one, which shows no prompt."""

    prompt = ""


def test_a_prompt_gets_no_text(stage: Stage) -> None:
    async def body() -> None:
        modem, dce = await stage.scripted("300", {'AT+CMGS="5551212"': "text"}, Texting)
        assert isinstance(dce, Texting)
        assert await stage.desk.command(modem, 'AT+CMGS="5551212"', 2.0) == ("OK", [])
        assert not dce.texting
        assert await stage.desk.command(modem, "AT", 2.0) == ("OK", [])

    stage.run(body, entry("300"))


@pytest.mark.parametrize("kind", [Left, Mute])
def test_a_modem_that_was_left_in_text_mode_gets_ready(stage: Stage, kind: type[Left]) -> None:
    async def body() -> None:
        _, dce = await stage.scripted("300", None, kind)
        assert isinstance(dce, Left)
        assert not dce.texting

    stage.run(body, entry("300"))
