"""Which modem a person means: by id, name, device node, or the beginning of one of them.

Exact beats prefix, and a prefix must be unique.  A miss offers the nearest names, and tells what keeps a phone of the
configuration from being a modem.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from dialupd.cli import words
from dialupd.cli.remote import Remote
from dialupd.cli.rows import Row, called, text, texts
from dialupd.cli.text import clean

OFFERED = 8
"""Names offered on a miss; more would hide the message."""


class NotFound(Exception):
    """Nothing, or too much, answers to that name; the text says what does."""


def _names(modem: Row) -> list[str]:
    """All that the modem answers to; the node with and without its directory."""
    node = text(modem, "device")
    return [name for name in (text(modem, "id"), text(modem, "name"), node, node.removeprefix("/dev/")) if name]


def nearest(wanted: str, names: Iterable[str], otherwise: Iterable[str]) -> list[str]:
    """Names that resemble the wanted one; when none does, the first `OFFERED` of `otherwise`."""
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(wanted.lower(), lower, n=3, cutoff=0.6)
    return [lower[name] for name in close] or sorted(set(otherwise))[:OFFERED]


def offer(names: Sequence[str]) -> str:
    return " or ".join([", ".join(map(clean, names[:-1])), clean(names[-1])] if len(names) > 1 else map(clean, names))


def chosen(wanted: str, remote: Remote) -> Row:
    """The daemon's modem that is meant; raises NotFound."""
    try:
        return modem(wanted, list(remote.modems.values()))
    except NotFound as error:
        problems = texts(remote.manager, "problems")
        raise NotFound(_missing(wanted, problems) or "\n".join([str(error), *problems[:OFFERED]])) from None


def _missing(wanted: str, problems: Iterable[str]) -> str:
    """What keeps the phone of that name, address or id from being a modem; a sentence begins with `NAME (ADDRESS)`."""
    asked = {wanted.lower(), wanted.lower().removeprefix("bluetooth_").replace("_", ":")}
    for problem in problems:
        name, _, address = problem.partition(": ")[0].lower().removesuffix(")").rpartition(" (")
        if asked & {name, address} - {""}:
            return problem
    return ""


def modem(wanted: str, modems: Sequence[Row]) -> Row:
    """The one modem meant; raises NotFound."""
    if not modems:
        raise NotFound(words.NO_MODEM)
    asked = wanted.lower()
    # A phone chooses its name itself, which may be what another modem is called.
    exact = [one for one in modems if asked == text(one, "id").lower()]
    exact = exact or [one for one in modems if asked in (name.lower() for name in _names(one))]
    found = exact or [one for one in modems if any(name.lower().startswith(asked) for name in _names(one))]
    if asked and len(found) == 1:
        return found[0]
    if asked and found:
        ids = sorted(text(one, "id") for one in found)
        raise NotFound(f"{clean(wanted)!r} means more than one modem: say {offer(ids[:OFFERED])}")
    near = nearest(wanted, (name for one in modems for name in _names(one)), map(called, modems))
    raise NotFound(f"no modem {clean(wanted)!r}: there is {offer(near)}")


def policy(wanted: str, policies: Sequence[str]) -> str:
    """The policy of exactly that name; raises NotFound."""
    if wanted in policies:
        return wanted
    if not policies:
        raise NotFound(
            f"no policy {clean(wanted)!r}: the configuration has none; add [policy.NAME] and dialupctl reload"
        )
    raise NotFound(f"no policy {clean(wanted)!r}: there is {offer(nearest(wanted, policies, policies))}")
