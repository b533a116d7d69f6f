"""dialupd-system-files: puts onto the system what a wheel cannot put there, and takes it back.

The units, policies, rules and manual pages travel in the package, in `share/` (the Debian package installs them
itself, and comes without this part).

Rules:
- In the units, /usr/bin/python3 and /usr/bin/dialupd become the interpreter and the script of this installation.  Root
  runs them, so root alone may be able to write there, and the units must be able to see them.
- A manifest says what was put.  A file that was changed since, or that somebody else put, is kept and named.
- With --root the files go below that directory, and nothing running is told of it.
"""
