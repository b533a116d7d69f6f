"""What a far end asks for that wants a login before PPP, read from the text that it sends.

Pure, and nothing but tables of words: those of terminal servers (Cisco, Livingston, Ascend, Shiva, Annex, 3Com), of
Unix and of providers' menus.  A prompt is the open line at the end of the text.  The password's words must stand at its
end, with nothing there that speaks of a new or a wrong password, so that the password goes only to what asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Asks(Enum):
    """What a text ends with."""

    NOTHING = "no prompt that is known"
    NAME = "the user's name"
    PASSWORD = "the password"  # noqa: S105 - words, no secret
    CHOICE = "a command, or one of a menu that names PPP"
    KEY = "ENTER, for a key or for what is proposed"


@dataclass(frozen=True, slots=True)
class Prompt:
    """`answer` is what a CHOICE is answered with."""

    asks: Asks
    answer: str = ""


NOTHING: Final = Prompt(Asks.NOTHING)
COMMAND: Final = "ppp"
"""What starts PPP at the prompt of nearly every terminal server, and of a Unix shell that was set up for it."""

_LONGEST_PROMPT: Final = 120
_END: Final = r"(?:\s*[(\[<][^()\[\]<>]{0,60}[)\]>])?[\s.]*[:>?=\])}-]+\s*$"
_BEFORE: Final = r"(?:^|(?<![a-z]))(?<!host )(?<!last )(?<!domain )(?<!file )(?<!terminal )(?<!group )(?<!service )"
_NAME: Final = re.compile(
    _BEFORE + r"(?:log[ -]?[io]n(?: ?(?:name|id))?|sign[ -]?[io]n(?: ?(?:name|id))?|user(?:[ -]?(?:name|id|code))?"
    r"|account(?: (?:name|id))?|name|id|usuario|benutzer(?:name|kennung)?|kennung|(?:nom d')?utilisateur|identifiant"
    r"|gebruikersnaam|utente)" + _END,
    re.IGNORECASE,
)
_PASSWORD: Final = re.compile(
    r"(?<![a-z])(?:pass(?:word|wd|code|phrase)?|passwort|kennwort|contrase\S{1,3}a|senha|mot de passe|wachtwoord)"
    r"(?: (?:for|of) \S{1,60}?)?" + _END,
    re.IGNORECASE,
)
_OTHER_PASSWORD: Final = re.compile(
    r"\b(?:new|change|old|again|verify|re-?type|re-?enter|repeat|forgot\w*|lost|confirm|incorrect|invalid|wrong|bad"
    r"|expired|failed)\b",
    re.IGNORECASE,
)
_KEY: Final = re.compile(
    r"(?:press|hit|strike|type)\b.{0,24}\b(?:key|enter|return|cr)\b|-- ?more ?--|\[more\]"
    r"|\bterm(?:inal type)?\b.{0,24}[?:=)]\s*$",
    re.IGNORECASE,
)
_OPEN_END: Final = re.compile(r"[)>}\]:.|?$%#=-]\s*$")

# "2) PPP", "[P] Start a PPP session", and "1=SLIP, 2=PPP" in one line.
_CHOICE: Final = re.compile(
    r"(?:^|[\s\[(<,;])([a-z0-9]{1,3})\s*[\])>.:=-]+\s*(?:(?:start|begin|enter|use)\s+)?(?:an?\s+)?ppp\b", re.IGNORECASE
)
# "ppp    Start a PPP session", "P   Point to point (PPP)"
_ROW: Final = re.compile(r"\s*([a-z0-9]{1,12})(?:\s{2,}|\t|\s+-+\s).*\bppp\b", re.IGNORECASE)
_BEGINS: Final = re.compile(
    r"^\W*(?:now )?(?:entering|starting|switching to|beginning|initiating) (?:async(?:hronous)? )?ppp\b"
    r"|\bppp (?:session |mode |connection |link )?(?:from|beginning|started|starting|enabled|active)\b"
    r"|\bip address is:? \d|\bpacket mode enabled\b",
    re.IGNORECASE,
)
_REFUSES: Final = re.compile(
    r"[%*\s-]*(?:"
    r"(?:login|logon|password|authentication|authorization|access|user(?:name)?|account|name)\b.{0,24}"
    r"\b(?:incorrect|invalid|denied|refused|rejected|failed|failure|wrong|unknown|disabled|expired|locked)"
    r"|(?:incorrect|invalid|bad|wrong|unknown) (?:log[io]n|passwords?|user(?:name)?|account|name)\b.{0,24}"
    r")[\s.!*]*(?:please try again|try again|goodbye|bye)?[\s.!*]*",
    re.IGNORECASE,
)
_COLOURS: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78MDEc])")
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LINE: Final = re.compile(r"\r\n|\r|\n")


def seen(data: bytes | bytearray) -> str:
    """The text as a person would see it: without parity, colours and control characters."""
    text = bytes(byte & 0x7F for byte in data).decode("ascii")
    return _UNSEEN.sub("", _COLOURS.sub("", text))


def asked(text: str, sent: str = "", *, ended: bool = False) -> Prompt:
    """What the text asks for at its end; `sent` is what we said before it, whose echo is no prompt.

    `ended`: a prompt may also be the last line that was ended, since nothing has followed it for long.
    """
    lines = _LINE.split(text)
    if ended:
        while len(lines) > 1 and not lines[-1].strip():
            lines.pop()
    prompt = lines[-1].strip()
    if not prompt or prompt == sent or len(prompt) > _LONGEST_PROMPT:
        return NOTHING
    if _PASSWORD.search(prompt) and not _OTHER_PASSWORD.search(prompt):
        return Prompt(Asks.PASSWORD)
    if _NAME.search(prompt):
        return Prompt(Asks.NAME)
    if _KEY.search(prompt):
        return Prompt(Asks.KEY)
    if not _OPEN_END.search(prompt) or "password" in prompt.lower():
        return NOTHING
    found = next((found for line in lines if (found := _CHOICE.search(line))), None)
    found = found or next((found for line in lines[:-1] if (found := _ROW.match(line))), None)
    return Prompt(Asks.CHOICE, found[1] if found else COMMAND)


def begins_ppp(line: str) -> bool:
    """Whether a whole line says that PPP begins now."""
    return _BEGINS.search(line) is not None


def refuses(line: str) -> bool:
    """Whether a whole line says that a name or a password is not taken, and nothing else."""
    return _REFUSES.fullmatch(line.strip()) is not None
