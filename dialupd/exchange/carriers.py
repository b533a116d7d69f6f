"""What two modems agree upon: the modulation, the rate and the protocols of a connected line.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

FULL_RATE = 33600
"""bit/s of V.34, the most between two analogue lines."""

RATES: dict[str, int] = {
    "V21": 300,
    "B103": 300,
    "V22": 1200,
    "B212": 1200,
    "V22B": 2400,
    "V23C": 1200,
    "V32": 9600,
    "V32B": 14400,
    "V34": 33600,
    "K56": 33600,
    "V90": 33600,
    "V92": 33600,
}
"""The names of +MS and the most that two analogue ends make of them: the 56k ones fall back to V.34."""

_ANALOGUE_56K = frozenset({"K56", "V90", "V92"})


@dataclass(frozen=True, slots=True)
class Ability:
    """What one end can do; `rate` in bit/s. A digital end (a service, a phone) has no modulation to name."""

    modulation: str
    rate: int
    correction: bool
    compression: bool


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both do: the smaller of the two in everything."""

    modulation: str
    rate: int
    correction: bool
    compression: bool


DIGITAL = Ability("", FULL_RATE, True, True)


def agree(one: Ability, other: Ability) -> Agreed:
    """The common ground; a rate that no modulation reaches picks the slower modulation."""
    named = [end for end in (one, other) if end.modulation]
    slower = min(named, key=lambda end: RATES.get(end.modulation, end.rate)) if named else one
    modulation = "V34" if slower.modulation in _ANALOGUE_56K else slower.modulation
    correction = one.correction and other.correction
    return Agreed(
        modulation=modulation,
        rate=min(one.rate, other.rate),
        correction=correction,
        compression=correction and one.compression and other.compression,
    )
