"""Becoming another user for good."""

from __future__ import annotations

import os
import pwd


class AccountError(Exception):
    """The process cannot become the user: why and the mend."""


def become(user: str) -> None:
    """Take the user's ids and groups and give up root's; does nothing when we are that user; raises AccountError.

    The order is setgroups, setgid, setuid, as each needs the rights that the next gives up.  All three ids of each
    kind are set, so there is no way back.
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise AccountError(f"there is no user {user!r}: create it, or name another in the session") from None
    if os.geteuid() == account.pw_uid:
        return
    try:
        os.setgroups(os.getgrouplist(user, account.pw_gid))
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    except PermissionError:
        raise AccountError(f"the rights to become user {user!r} are missing") from None
    os.chdir("/")
