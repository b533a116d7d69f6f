"""In login(1)'s place: asks for the password, keeps out root, says who is to be called back, and has login do the rest.

A program by itself, which agetty runs as `python3 -I login_front.py UNTIL ROOT FD USERS HOST NAME`; UNTIL is on the
monotonic clock, ROOT is `root` where root may log in, HOST tells PAM and wtmp who calls.  The password is checked by
PAM's service `login`, as login would.  Where root may not, whoever wants to be root sees what everybody with a wrong
password sees: the same questions, the same pause, the same words, and PAM gets a password that is none, so nothing can
be learned from it either.  Accounts without a password are refused too: a telephone line is not the console.
After three tries, or at UNTIL, the program ends and so does the call.

USERS, joined by commas, are called back: once one of them has proved who he is, and his account is in order, FD gets
his name, and he is asked to hang up.  FD and USERS are `-` where nobody is, HOST where the number is not known.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
import syslog
import termios
import time
from typing import Any, Final

TRIES: Final = 3
LOGIN: Final = "/bin/login"
SERVICE: Final = b"login"

# security/_pam_types.h
_SUCCESS: Final = 0
_CONV_ERR: Final = 19
_USER: Final = 2
_TTY: Final = 3
_RHOST: Final = 4
_NEW_AUTHTOK_REQD: Final = 12  # pam_acct_mgmt: he may come in, and needs another password
_ECHO_OFF: Final = 1
_ECHO_ON: Final = 2
_DISALLOW_NULL_AUTHTOK: Final = 1

# Seconds for the last words to reach him through two modems, and for him to hang up by himself.
_HEARD: Final = 3.0
_LONGEST: Final = 512
# As OpenSSH does it: a password that cannot be typed.
_NO_PASSWORD: Final = b"\b\n\r\177INCORRECT"


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("unused", ctypes.c_int))


_Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)),
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    _fields_ = (("converse", _Converse), ("data", ctypes.c_void_p))


class Left(Exception):
    """Nobody is there any more."""


def main(until: float, root_may: bool, told: int, called_back: frozenset[str], host: str, name: str) -> int:
    """Does not return when somebody has logged in; 0 when he is called back, 1 when nobody has."""
    # Python has set these otherwise, and they would stay so in the user's shell.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if told >= 0:
        os.set_inheritable(told, False)  # neither login nor the user's shell can name anybody
    signal.setitimer(signal.ITIMER_REAL, max(0.1, until - time.monotonic()))
    syslog.openlog("dialupd-login", syslog.LOG_PID, syslog.LOG_AUTH)
    try:
        for tried in range(TRIES):
            if tried:
                name = _ask(f"{os.uname().nodename} login: ").decode("utf-8", "surrogateescape")
            user = authenticate(name, host, called_back, root_may=root_may)
            if user in called_back:
                return _call_back(user, told)
            if user:
                signal.setitimer(signal.ITIMER_REAL, 0)
                os.environ.pop("LC_CTYPE", None)  # of Python's own making, where no locale is set
                caller = ["-h", host] if host else []
                os.execv(LOGIN, ["login", "-p", *caller, "-f", "--", user])  # noqa: S606
            _say("\nLogin incorrect\n")
    except Left:
        pass
    return 1


def _call_back(user: str, told: int) -> int:
    os.write(told, user.encode())
    signal.setitimer(signal.ITIMER_REAL, 0)
    syslog.syslog(syslog.LOG_NOTICE, f"{user} has given his password to be called back, {os.ttyname(0)}")
    _say("\nYou will be called back at the number that is on file; hang up now.\n")
    time.sleep(_HEARD)  # a hang-up ends it sooner
    return 0


def authenticate(name: str, host: str, called_back: frozenset[str], *, root_may: bool) -> str:
    """Who `name`, at `host`, has proved to be, "" for nobody, and for root where root may not; raises Left."""
    root = not root_may and _is_root(name)
    if root:
        syslog.syslog(syslog.LOG_NOTICE, f"root is not let in over a modem, {os.ttyname(0)}")
    user = _Dialogue(name, host, called_back, root=root).run()
    return "" if root or (not root_may and _is_root(user)) else user


def _is_root(name: str) -> bool:
    try:
        return pwd.getpwnam(name).pw_uid == 0
    except (KeyError, ValueError):
        return False


def _account(name: str) -> str:
    """The account's own name: directories may take other spellings, such as ANN for ann, for the same one."""
    try:
        return pwd.getpwnam(name).pw_name
    except (KeyError, ValueError):
        return name


class _Dialogue:
    """One question to PAM; its further questions go to the terminal.  Who is `called_back` needs a valid account too:
    the others' accounts are login's to judge."""

    def __init__(self, name: str, host: str, called_back: frozenset[str], *, root: bool) -> None:
        self._name = os.fsencode(name)
        self._host = os.fsencode(host)
        self._called_back = called_back
        self._root = root
        self._left = False
        self._pam: Any = ctypes.CDLL("libpam.so.0")
        self._libc: Any = ctypes.CDLL(None)
        self._libc.calloc.restype = self._libc.strdup.restype = ctypes.c_void_p

    def run(self) -> str:
        """The name that PAM has for whom it believes, or ""."""
        conversation = _Conversation(_Converse(self._converse), None)
        handle = ctypes.c_void_p()
        done = self._pam.pam_start(SERVICE, self._name, ctypes.byref(conversation), ctypes.byref(handle))
        if done != _SUCCESS:
            return ""
        try:
            done = self._pam.pam_set_item(handle, _TTY, os.fsencode(os.ttyname(0)))
            if done == _SUCCESS and self._host:
                done = self._pam.pam_set_item(handle, _RHOST, self._host)
            if done == _SUCCESS:
                done = self._pam.pam_authenticate(handle, _DISALLOW_NULL_AUTHTOK)
            user = ctypes.c_char_p()
            if done == _SUCCESS:
                done = self._pam.pam_get_item(handle, _USER, ctypes.byref(user))
            if self._left:
                raise Left
            who = _account(os.fsdecode(user.value)) if done == _SUCCESS and user.value else ""
            if who in self._called_back:
                done = self._pam.pam_acct_mgmt(handle, 0)
                return who if done in (_SUCCESS, _NEW_AUTHTOK_REQD) else ""
            return who
        finally:
            self._pam.pam_end(handle, done)

    def _converse(self, count: int, messages: Any, responses: Any, _data: object) -> int:
        space = self._libc.calloc(max(count, 1), ctypes.sizeof(_Response))
        answers = ctypes.cast(space, ctypes.POINTER(_Response))
        for index in range(count):
            message = messages[index].contents
            text = (message.text or b"").decode("utf-8", "replace")
            if message.style not in (_ECHO_OFF, _ECHO_ON):
                _say(f"{text}\n")
                continue
            try:
                answer = _ask(text, echo=message.style == _ECHO_ON)
            except Left:
                self._left = True
                return _CONV_ERR  # the process ends, and what is at `space` with it
            hidden = self._root and message.style == _ECHO_OFF
            answers[index].text = self._libc.strdup(_NO_PASSWORD if hidden else answer)
        responses[0] = answers
        return _SUCCESS


def _ask(question: str, *, echo: bool = True) -> bytes:
    """A line from the terminal; raises Left."""
    before: list[Any] = []
    try:
        if not echo:
            before = termios.tcgetattr(0)
            silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
            # Before the question: whoever answers at once is neither echoed nor dropped.
            termios.tcsetattr(0, termios.TCSAFLUSH, silent)
        _say(question)
        line = os.read(0, _LONGEST)
        if not line:
            raise Left
        if not echo:
            _say("\n")
        return line.rstrip(b"\r\n").partition(b"\0")[0]
    except (OSError, termios.error):
        raise Left from None
    finally:
        if before:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def _say(text: str) -> None:
    os.write(1, text.encode("utf-8", "replace"))


if __name__ == "__main__":
    _, _until, _root, _fd, _users, _host, _name = sys.argv
    _named = frozenset() if _users == "-" else frozenset(_users.split(","))
    sys.exit(main(float(_until), _root == "root", -1 if _fd == "-" else int(_fd), _named, _host.strip("-"), _name))
