"""Times of the AT dialogue, in seconds."""

LF_WAIT = 0.05
"""After a CR that ends what has arrived: its LF comes within a character's time, 33 ms at 300 bit/s."""

REPLY = 3.0
"""For commands that only set or ask: the slowest phones take about 2 s for +CGMI after power-up; most modems 20 ms."""

SYNC = 0.8
"""For the very first command: a modem that is awake answers in milliseconds, and a silent one is asked again."""

SYNC_TRIES = 3
"""Some modems answer only after DTR has been up for a while."""

RESTORE = 5.0
"""For ATZ and AT&F, which re-read the profile."""

GUARD = 1.1
"""Silence on both sides of the escape sequence: S12 is 50 times 20 ms by default (V.250 extension), plus a margin."""

HANG_UP_REPLY = 5.0
"""For OK after ATH: an error-corrected line is first cleared down, which takes some seconds on a dead one."""

VOICE_CLEARS = 1.0
"""From one look at a phone's voice call that is to end to the next."""

VOICE_ENDS = 60.0
"""For all of that: a phone that answers each command in the last moment must not hold its owner up for ever."""

RUNS_ON = 1800.0
"""For a voice call whose end nobody has seen: nobody listens to silence for longer, and the owner may call the same."""

DTR_DOWN = 0.3
"""Circuit 108/2 must stay OFF longer than S25 (5 hundredths of a second by default) to be seen."""

DTR_SETTLE = 0.1
"""After DTR rises again: some modems forget what is sent at once."""

CARRIER_GRACE = 0.3
"""DCD may rise a moment after CONNECT; a USB modem tells it through another pipe than the text."""

CARRIER_WAIT = 60
"""S7: the modem's own wait for carrier."""

CARRIER_MARGIN = 5.0
"""Our own limit exceeds S7 by this, so that the modem's result comes first and names the reason."""

BIND = 75.0
"""For the driver to be bound: the unit that does it has a minute, and its own verdict is to come first."""

BIND_WAIT = 30.0
"""For the port of a device that the generic driver was told of; the kernel needs less than one."""

RING_TIMEOUT = 10.0
"""Rings come every 4 to 6 s; after this long without one the caller has given up (mgetty's value)."""

LOSS_TOLD = 3.0
"""For a lost line to a phone to tell whether the phone is in range still: bluetoothd knows that in half a second."""

SESSION_NOTICES = 3.0
"""For a session to end by itself when the carrier is gone, with its own verdict: pppd is at it for half a second."""

SESSION_STOP = 8.0
"""For a session that was asked to end: pppd's LCP terminate takes up to 6 s with a far end that is gone."""

STALE = 0.3
"""A NO CARRIER this soon after ATD cannot be of this call: no modem goes off hook that fast."""

RETRY_FIRST = 5.0
RETRY_MAX = 600.0
"""A failed modem is tried again after RETRY_FIRST, doubling up to RETRY_MAX."""

HELD = 60.0
"""A line that was open for so long was no failure: the pauses begin anew."""

SHOWS_UP = 60.0
"""From one try of a failed phone because it shows up to the next."""

DEFECT_PAUSE = 60.0
"""Before a modem whose task a defect has ended is taken up again: long enough to keep the log readable."""

CALL_KEPT = 60.0
"""An ended call stays on the bus for a minute, so that whoever asked for it can read how it ended."""

HUNG = 120.0
"""The longest that anything but a call and idling takes without a command line to the modem, a driver's binding, is
about 105 s (a radio link, 25 s); an owner that is at it for longer will never end. Dialling and answering have the time
limit of their call besides."""

SHUTDOWN = 15.0
"""For all calls to be hung up in order when the daemon ends; systemd's own limit is 90 s."""

CALL_BACK_PAUSE = 8.0
"""From the end of any call to a call back: the exchange frees the line, and the caller's modem gets ready to answer."""

CALL_BACK_AGAIN = 60.0
"""From one try of a call back to the next: an engaged line is free, a modem initialised, a caller back from his
telephone."""

CALL_BACK_LATEST = 600.0
"""After this long nobody waits for his call any more."""
