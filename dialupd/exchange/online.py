"""The data line of a connected modem, and the way out of data state."""

from __future__ import annotations

from collections.abc import Callable

from .call import Network
from .carriers import Agreed
from .escape import EscapeDetector
from .line import LineEnd
from .settings import Settings
from .timing import Alarm


class Online:
    """What a modem has from CONNECT to the end of its call; `escaped` is called when the computer asks for commands."""

    def __init__(self, network: Network, settings: Settings, escaped: Callable[[], object]) -> None:
        self.agreed: Agreed | None = None
        self._network = network
        self._settings = settings
        self._escaped = escaped
        self._line: LineEnd | None = None
        self._detector = EscapeDetector()
        self._silence = Alarm(network.scheduler)

    def begin(self, line: LineEnd, agreed: Agreed) -> None:
        """Both modems have trained."""
        self._line, self.agreed = line, agreed

    def lose(self) -> None:
        """The far end is gone, and the modem takes no notice."""
        self._line = None

    def end(self) -> None:
        """The modem has hung up."""
        self._line = self.agreed = None
        self._silence.stop()

    def enter(self) -> None:
        """Data state begins."""
        self._detector.restart(self._network.scheduler.time())

    def leave(self) -> None:
        """Data state ends without the escape sequence."""
        self._silence.stop()

    def send(self, data: bytes, *, escapable: bool) -> None:
        """Bytes from the computer in data state."""
        if escapable:
            now, second = self._network.scheduler.time(), self._network.timing.second
            guard = self._settings.register(12) * 0.02 * second
            if self._detector.passed(data, now, char=self._settings.register(2), guard=guard):
                self._silence.set(guard, self._escaped)
            else:
                self._silence.stop()
        if self._line is not None:
            self._line.send(data)

    def pump(self) -> None:
        """The computer has room for more."""
        if self._line is not None:
            self._line.pump()
