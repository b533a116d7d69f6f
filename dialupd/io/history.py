"""The schema of the call history and the way between its rows and `CallView`s."""

from __future__ import annotations

from collections.abc import Sequence

from dialupd.at.dialstring import Masking, masked
from dialupd.model import CallState, CallView, Direction, EndReason, HistoryFilter, SessionState

Value = str | int
VERSION = 1
_LARGEST = 2**63 - 1  # of SQLite's integers

_TEXTS = (
    "modem", "direction", "number", "caller_id", "caller_name", "policy", "session", "state", "session_state",
    "end_reason", "modulation", "error_control", "compression", "interface", "local_address", "remote_address", "dns",
)  # fmt: skip
_NUMBERS = ("call", "start_time", "connect_time", "end_time", "line_rate", "port_rate", "rx_bytes", "tx_bytes")
COLUMNS = (*_NUMBERS, *_TEXTS)

SCHEMA = (
    "CREATE TABLE calls ("
    + "".join(f"{name} INTEGER NOT NULL, " for name in _NUMBERS)
    + "".join(f"{name} TEXT NOT NULL, " for name in _TEXTS)
    + "PRIMARY KEY (start_time, call)) WITHOUT ROWID"
)
UPSERT = f"INSERT OR REPLACE INTO calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - constant names
READ = f"SELECT {', '.join(COLUMNS)} FROM calls"  # noqa: S608 - constant names
NEWEST_FIRST = "ORDER BY start_time DESC, call DESC"
CLOSE_STALE = (
    "UPDATE calls SET state = ?, session_state = ?, end_reason = ?, end_time = max(?, start_time, connect_time)"
    " WHERE state != ? AND call NOT IN (SELECT value FROM json_each(?))"
)
PRUNE = (
    "DELETE FROM calls WHERE (start_time, call) <="
    " (SELECT start_time, call FROM calls ORDER BY start_time DESC, call DESC LIMIT 1 OFFSET ?)"
)


def _plain(value: object) -> Value:
    """As SQLite takes it: text that is UTF-8, numbers of 63 bits, lists of words as one text."""
    if isinstance(value, int):
        return min(value, _LARGEST)
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text.encode("utf-8", "replace").decode()


def row_of(view: CallView) -> list[Value]:
    return [_plain(getattr(view, name)) for name in COLUMNS]


def view_of(row: Sequence[Value]) -> CallView:
    """Raises ValueError if the row holds a word that this version does not know."""
    number = {name: int(value) for name, value in zip(_NUMBERS, row, strict=False)}
    text = {name: str(value) for name, value in zip(_TEXTS, row[len(_NUMBERS) :], strict=True)}
    return CallView(
        call=number["call"],
        modem=text["modem"],
        direction=Direction(text["direction"]),
        number=text["number"],
        caller_id=text["caller_id"],
        caller_name=text["caller_name"],
        policy=text["policy"],
        session=text["session"],
        state=CallState(text["state"]),
        session_state=SessionState(text["session_state"]),
        end_reason=EndReason(text["end_reason"]),
        start_time=number["start_time"],
        connect_time=number["connect_time"],
        end_time=number["end_time"],
        line_rate=number["line_rate"],
        port_rate=number["port_rate"],
        modulation=text["modulation"],
        error_control=text["error_control"],
        compression=text["compression"],
        interface=text["interface"],
        local_address=text["local_address"],
        remote_address=text["remote_address"],
        dns=tuple(text["dns"].split()),
        rx_bytes=number["rx_bytes"],
        tx_bytes=number["tx_bytes"],
    )


def select(wanted: HistoryFilter) -> tuple[str, list[Value]]:
    """The query for a filter; `until` is the first time that is too late.

    `number` is either end of the call; a dialled one is found by the whole number too, however its row was masked.
    """
    conditions: list[str] = []
    values: list[Value] = []
    for condition, value in (
        ("start_time >= ?", wanted.since),
        ("start_time < ?", wanted.until),
        ("modem = ?", wanted.modem),
        ("policy = ?", wanted.policy),
        ("direction = ?", wanted.direction),
    ):
        if value:
            conditions.append(condition)
            values.append(_plain(value))
    if wanted.number:
        conditions.append("(caller_id = ? OR number IN (?, ?, ?))")
        values += [_plain(wanted.number), *(_plain(masked(wanted.number, how)) for how in Masking)]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    limit = "LIMIT ?" if wanted.limit else ""
    if wanted.limit:
        values.append(_plain(wanted.limit))
    return f"{READ} {where} {NEWEST_FIRST} {limit}", values
