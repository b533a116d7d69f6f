"""What a serial port's descriptor needs from the kernel, and what its errors mean.

No loop here: opening may wait for hardware, everything else returns at once.  Errors of the system become PortError
with a reason for programs and a text that names the device and the mend.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import termios

import serial

from dialupd.config.values import Flow
from dialupd.io.port import Lines, PortError, PortFault

# <asm-generic/ioctls.h>; the termios module has its twin TIOCSETD only.
TIOCGETD = 0x5424

# Major numbers <linux/major.h>.  On a pty TIOCEXCL outlives its holder, for as long as the other end is open.
PTY_SLAVES = (136, 143)


def open_tty(path: str, speed: int, flow: Flow) -> int:
    """The descriptor of the port, raw and ours; raises PortError."""
    if not hasattr(termios, f"B{speed}"):
        raise PortError(PortFault.IO, f"{path}: {speed} is not a serial port's speed; 115200 suits most modems")
    try:
        # Opening what is no device has effects: a FIFO waits, a plain file gets written.
        if not stat.S_ISCHR(os.stat(path).st_mode):
            raise PortError(PortFault.NOT_A_TTY, f"{path} is not a serial port")
        port = serial.Serial(exclusive=True, timeout=0, rtscts=flow is Flow.RTSCTS, xonxoff=flow is Flow.XONXOFF)
        port.port, port.baudrate = path, speed
        port.open()
        try:
            fd = os.dup(port.fileno())
        finally:
            port.close()
        try:
            make_ours(fd)
            set_raw(fd, speed, flow)
        except BaseException:
            os.close(fd)
            raise
    except (OSError, termios.error) as error:  # SerialException is an OSError
        number = _error_number(error)
        raise port_error(path, number, os.strerror(number) if number else str(error)) from error
    return fd


def _error_number(error: BaseException | None) -> int:
    """The errno of an error; pyserial wraps termios.error without one, but with it as context."""
    while error is not None:
        if error.args and isinstance(error.args[0], int):
            return error.args[0]
        error = error.__context__
    return 0


def port_error(path: str, number: object, text: str) -> PortError:
    match number:
        case errno.EBUSY | errno.EWOULDBLOCK:
            return PortError(PortFault.BUSY, f"{path} is in use by another program; `fuser {path}` names it")
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return PortError(PortFault.GONE, f"{path} is not there; plug the modem in")
        case errno.EACCES | errno.EPERM:
            return PortError(PortFault.DENIED, f"{path}: permission denied; the daemon's user must be in its group")
        case errno.ENOTTY:
            return PortError(PortFault.NOT_A_TTY, f"{path} is not a serial port")
        case errno.EIO:
            return PortError(PortFault.IO, f"{path} does not work: hung up, unplugged, or no hardware behind it")
        case _:
            return PortError(PortFault.IO, f"{path}: {text}")


def make_ours(fd: int) -> None:
    """Keep others out, as far as each kind of port allows."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not PTY_SLAVES[0] <= os.major(os.fstat(fd).st_rdev) <= PTY_SLAVES[1]:
        fcntl.ioctl(fd, termios.TIOCEXCL)
    os.set_blocking(fd, False)
    os.set_inheritable(fd, False)


def set_raw(fd: int, speed: int, flow: Flow) -> None:
    """Every field: an earlier program's settings survive on the device."""
    code: int = getattr(termios, f"B{speed}")
    iflag = termios.IGNBRK | termios.IGNPAR
    cflag = termios.CS8 | termios.CREAD | termios.CLOCAL | termios.HUPCL
    match flow:
        case Flow.XONXOFF:
            iflag |= termios.IXON | termios.IXOFF
        case Flow.RTSCTS:
            cflag |= termios.CRTSCTS
        case Flow.NONE:
            pass
    characters = termios.tcgetattr(fd)[6]
    characters[termios.VMIN] = 1  # with 0, "nothing there" would look like the end
    characters[termios.VTIME] = 0
    characters[termios.VSTART], characters[termios.VSTOP] = b"\x11", b"\x13"
    termios.tcsetattr(fd, termios.TCSANOW, [iflag, 0, cflag, 0, code, code, characters])


def modem_bits(fd: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCMGET, bytes(4)))[0])


def modem_lines(fd: int) -> Lines:
    """The modem's circuits; OSError where the port has none, or is gone."""
    bits = modem_bits(fd)
    return Lines(
        dcd=bool(bits & termios.TIOCM_CAR),
        dsr=bool(bits & termios.TIOCM_DSR),
        cts=bool(bits & termios.TIOCM_CTS),
        ri=bool(bits & termios.TIOCM_RI),
    )


def discard_output(fd: int) -> bool:
    """Whether nothing is left to send."""
    try:
        termios.tcflush(fd, termios.TCOFLUSH)
        return bool(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0] == 0)
    except (OSError, termios.error):  # hung up: closing does not wait
        return True


def normal_discipline(fd: int) -> None:
    """Undo what a killed pppd or a stopped transfer leaves behind: the line discipline and an XOFF."""
    # Only if it differs: setting it waits up to 5 s for whoever still reads, even if there is nothing to change.
    if struct.unpack("i", fcntl.ioctl(fd, TIOCGETD, bytes(4)))[0] != termios.N_TTY:
        fcntl.ioctl(fd, termios.TIOCSETD, struct.pack("i", termios.N_TTY))
    with contextlib.suppress(termios.error):
        termios.tcflow(fd, termios.TCOON)
