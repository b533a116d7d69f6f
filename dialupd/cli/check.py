"""check: reads the configuration as the daemon would, without the daemon."""

from __future__ import annotations

from dialupd.cli.front import DONE, FAILED, Front
from dialupd.cli.text import clean
from dialupd.config.problems import ConfigError
from dialupd.io.configfile import read_config

LINE = 1000
"""Characters of one problem; a path may be long."""


async def check(front: Front) -> int:
    out, path = front.out, front.args.file
    try:
        config = read_config(path)
    except ConfigError as error:
        if out.json:
            told = [{"file": problem.file, "key": problem.key, "text": problem.text} for problem in error.problems]
            out.emit({"config-file": path, "problems": told})
        else:
            for problem in error.problems:
                out.line(clean(str(problem), LINE))
            count = len(error.problems)
            out.advise(
                f"dialupctl: {count} problem{'' if count == 1 else 's'} in {clean(path)}; a daemon would refuse it"
            )
        return FAILED
    counts = {"modems": len(config.modems), "policies": len(config.policies), "sessions": len(config.sessions)}
    if out.json:
        out.emit({"config-file": path, "problems": [], **counts})
    else:
        out.line(f"{clean(path)}: good ({', '.join(f'{key}: {count}' for key, count in counts.items())})")
        if not config.modems:
            out.line("it names no modem: every modem found by its kind is managed without a policy")
    return DONE
