"""Few examples at each run, so that the unit tests stay quick; DIALUPD_EXAMPLES=2000 looks harder."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile(
    "unit", max_examples=int(os.environ.get("DIALUPD_EXAMPLES", "20")), deadline=None, database=None
)
settings.load_profile("unit")
