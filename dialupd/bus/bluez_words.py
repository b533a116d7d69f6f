"""What keeps a phone from being reached, in words with the mend: by BlueZ's errors, and by the state of the adapters.

BlueZ tells why by the text of its error; the texts are those of src/error.h from 5.66 on, and what they stand for is
an errno of the kernel's.  Where the look at a phone's services fails, the text is that of strerror(3).
"""

from __future__ import annotations

import errno
import os
from typing import Final

from dialupd.bus.wire import BUS_NAME, BusError
from dialupd.io.rfkill import Block
from dialupd.radio import Phone, RadioError, RadioFault, Service

BLUEZ: Final = "org.bluez"
_ERROR: Final = f"{BLUEZ}.Error"
IN_PROGRESS: Final = f"{_ERROR}.InProgress"
ALREADY_CONNECTED: Final = f"{_ERROR}.AlreadyConnected"
ALREADY_EXISTS: Final = f"{_ERROR}.AlreadyExists"
NOT_PERMITTED: Final = f"{_ERROR}.NotPermitted"
CANCELED: Final = f"{_ERROR}.Canceled"

NO_BUS: Final = "the system's message bus cannot be reached, so no phone can; it is tried again"
NO_BLUETOOTHD: Final = (
    "bluetoothd does not run: install the package bluez, or start it with: systemctl enable --now bluetooth"
)
_LOG: Final = "its log says more: journalctl -u bluetooth"

SERVICES: Final = {Service.DIAL_UP: "Dial-Up Networking", Service.SERIAL: "the Serial Port"}

# Characters of an error's text.
_TEXT: Final = 200

_OUT_OF_RANGE: Final = (
    RadioFault.OUT_OF_RANGE,
    "is out of range, or its Bluetooth is off: bring it near, switch it on",
)
_REFUSED: Final = (
    RadioFault.REFUSED,
    "refuses the connection: allow it on the phone, and end what uses its modem there",
)
_DROPPED: Final = (RadioFault.REFUSED, "broke the connection off: look what it shows, then try again")
_NO_SERVICE: Final = (
    RadioFault.NO_SERVICE,
    "offers {service} no more: switch it on in its settings; if it stays so, pair anew: "
    "bluetoothctl remove {address}, then bluetoothctl pair {address}",
)
_OFF: Final = (RadioFault.OFF, "cannot be reached, the adapter is switched off: bluetoothctl power on")
_UNKNOWN_PHONE: Final = (
    RadioFault.NOT_PAIRED,
    "is not known to bluetoothd: make it visible, then bluetoothctl --timeout 30 scan on, "
    "then bluetoothctl pair {address}",
)
_KEY: Final = "bluetoothctl remove {address}, then bluetoothctl pair {address}"
_BUSY: Final = (
    RadioFault.FAILED,
    "is being connected or looked at by another program, or its last line is still closing: try again in a moment",
)
# Linux 6.1.192 (Debian 12) fails in hci_chan_del when the paging of a phone has failed, and takes bluetoothd with it.
_GONE: Final = (
    RadioFault.ABSENT,
    "was not reached: bluetoothd ended while it connected; it is started again if it is enabled: "
    "systemctl enable --now bluetooth; some kernels fail over a phone that is out of range: "
    'if dmesg says "kernel BUG", restart this computer',
)
_FAILED: Final = (RadioFault.FAILED, "cannot be connected: bluetoothd failed; " + _LOG)

_BY_TEXT: Final = {
    "br-connection-page-timeout": _OUT_OF_RANGE,
    "br-connection-timeout": _OUT_OF_RANGE,
    "br-connection-refused": _REFUSED,
    "br-connection-aborted-by-remote": _DROPPED,
    "br-connection-lmp-protocol-error": (RadioFault.FAILED, "and the adapter misunderstand each other: try again"),
    "br-connection-not-supported": _NO_SERVICE,
    "br-connection-profile-unavailable": _NO_SERVICE,
    "br-connection-adapter-not-powered": _OFF,
    "br-connection-aborted-by-local": _OFF,
    "br-connection-key-missing": (RadioFault.NOT_PAIRED, f"has forgotten this computer; pair anew: {_KEY}"),
    "br-connection-canceled": (RadioFault.FAILED, "was not connected: another program had bluetoothd give it up"),
    "br-connection-concurrent-connection-limit": (
        RadioFault.FAILED,
        "cannot be connected beside the others: the adapter takes no more; disconnect one with bluetoothctl disconnect",
    ),
    "br-connection-busy": _BUSY,
    # Also what an authentication that fails comes out as.
    "br-connection-unknown": (
        RadioFault.FAILED,
        f"cannot be connected, and bluetoothd does not say why; {_LOG}; "
        f"if the phone has forgotten this computer, pair anew: {_KEY}",
    ),
    os.strerror(errno.EHOSTDOWN): _OUT_OF_RANGE,
    os.strerror(errno.ETIMEDOUT): _OUT_OF_RANGE,
    os.strerror(errno.ECONNREFUSED): _REFUSED,
    os.strerror(errno.ECONNRESET): _DROPPED,
    os.strerror(errno.ECONNABORTED): _OFF,
    os.strerror(errno.EHOSTUNREACH): _OFF,
    "br-connection-sdp-search": _FAILED,
    "br-connection-create-socket": (
        RadioFault.FAILED,
        "has a line open already that bluetoothd knows nothing of: end the program that holds it, "
        "or the radio link: bluetoothctl disconnect {address}",
    ),
    # Paging has failed, and so has turning to Low Energy, which is being tried already.
    "br-connection-already-connected": _OUT_OF_RANGE,
    "br-connection-bad-socket": _FAILED,
    "br-connection-memory-allocation": _FAILED,
}
_BY_NAME: Final = {
    IN_PROGRESS: _BUSY,
    f"{_ERROR}.NotReady": _OFF,
    f"{_ERROR}.NotAvailable": _NO_SERVICE,
    f"{_ERROR}.DoesNotExist": _UNKNOWN_PHONE,
    f"{_ERROR}.ConnectionAttemptFailed": _OUT_OF_RANGE,
    f"{_ERROR}.AuthenticationFailed": (RadioFault.NOT_PAIRED, f"does not accept the pairing; pair anew: {_KEY}"),
    f"{BUS_NAME}.Error.UnknownObject": _UNKNOWN_PHONE,
    f"{BUS_NAME}.Error.UnknownMethod": _UNKNOWN_PHONE,
    f"{BUS_NAME}.Error.NoReply": _GONE,
    f"{BUS_NAME}.Error.ServiceUnknown": _GONE,
    f"{BUS_NAME}.Error.NameHasNoOwner": _GONE,
}
# BlueZ turns to Low Energy only when paging the phone has failed.
_LOW_ENERGY: Final = "le-connection-"


def called(phone: Phone) -> str:
    return f"{phone.name} ({phone.address})" if phone.name else phone.address


def refusal(phone: Phone, error: BusError) -> RadioError:
    """Why ConnectProfile failed."""
    found = _BY_TEXT.get(error.text) or _BY_NAME.get(error.name)
    if error.text.startswith(_LOW_ENERGY):
        found = _OUT_OF_RANGE
    if found is None:
        found = (RadioFault.FAILED, f"cannot be connected: {shown(error)}; bluetoothd's log may say more")
        return RadioError(found[0], f"{called(phone)} {found[1]}")
    return _told(phone, found)


def unknown(address: str) -> RadioError:
    return _told(Phone(address), _UNKNOWN_PHONE)


def not_paired(phone: Phone) -> RadioError:
    text = "is known but not paired; pair it, and confirm that on the phone: bluetoothctl pair {address}"
    return _told(phone, (RadioFault.NOT_PAIRED, text))


def blocked(phone: Phone) -> RadioError:
    text = "is blocked on this computer: bluetoothctl unblock {address}"
    return _told(phone, (RadioFault.REFUSED, text))


def no_service(phone: Phone) -> RadioError:
    text = (
        "offers neither Dial-Up Networking nor a Serial Port: switch that on in its settings, "
        "then have bluetoothd ask it again: bluetoothctl connect {address}"
    )
    return _told(phone, (RadioFault.NO_SERVICE, text))


def no_answer(phone: Phone) -> RadioError:
    return _told(phone, _OUT_OF_RANGE)


def no_line(phone: Phone) -> RadioError:
    text = "is connected already, as bluetoothd says, and gives no line: bluetoothctl disconnect {address}"
    return _told(phone, (RadioFault.FAILED, text))


def busy(phone: Phone) -> RadioError:
    return _told(phone, _BUSY)


def not_ours(service: Service, error: Exception) -> str:
    """Why RegisterProfile failed."""
    if isinstance(error, BusError) and error.name == NOT_PERMITTED:
        which = "; it may be oFono: systemctl disable --now ofono dundee" if service is Service.DIAL_UP else ""
        why = shown(error)
        return f"another program on this computer has {SERVICES[service]} of phones for itself ({why}): end it{which}"
    return f"bluetoothd does not give {SERVICES[service]} of phones to dialupd: {shown(error)}; {_LOG}"


def no_adapter(block: Block) -> str:
    if block is Block.NONE:
        return "bluetoothd knows no Bluetooth adapter: plug one in; bluetoothctl list shows those that it knows"
    return off("", block)


def off(adapters: str, block: Block) -> str:
    """Why no adapter is on; `adapters` are their names."""
    match block:
        case Block.HARD:
            return "Bluetooth is switched off by a switch, a key or the firmware's setup: switch it on there"
        case Block.SOFT:
            return "Bluetooth is blocked by rfkill: rfkill unblock bluetooth"
        case Block.NONE:
            return f"the Bluetooth adapter {adapters} is switched off: bluetoothctl power on"


def shown(error: Exception) -> str:
    """An error's own words, printable and bounded."""
    return "".join(c if c.isprintable() else " " for c in str(error)[:_TEXT])


def _told(phone: Phone, found: tuple[RadioFault, str]) -> RadioError:
    fault, text = found
    text = text.format(address=phone.address, service=SERVICES.get(phone.service, "what is needed"))
    return RadioError(fault, f"{called(phone)} {text}")
