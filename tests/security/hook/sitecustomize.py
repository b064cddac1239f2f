"""Listens in a data plane that the judge started: what none of its processes has any business in is written down.

Found by every interpreter whose ``PYTHONPATH`` has this folder. Sandboxed processes start without ``site``, so they
have no hook: what they do is seen by the walls and the canaries.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from types import CodeType

_NEVER = frozenset(
    {
        "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn", "pickle.find_class", "urllib.Request",
        "webbrowser.open", "ftplib.connect", "smtplib.connect", "socket.getaddrinfo", "ctypes.call_function", "cpython.run_command",
    }
)  # fmt: skip


def _listen(log: str, canaries: str, token: str) -> None:
    libraries = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    mine = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def strange(event: str, arguments: tuple[object, ...]) -> str:
        if event in _NEVER:
            return f"{event} {arguments!r}"
        if event == "subprocess.Popen":
            return "" if "penstock." in str(arguments[1]) else f"{event} {arguments[1]!r}"
        if event == "open" and isinstance(arguments[0], str | bytes):
            place = os.path.abspath(os.fsdecode(arguments[0]))
            return f"open {place}" if place.startswith(canaries) else ""
        if event == "exec" and isinstance(arguments[0], CodeType):
            code = arguments[0]
            known = code.co_filename.startswith((*libraries, "<", sys.prefix)) or "/penstock/" in code.co_filename
            hostile = any(token in one for one in code.co_consts if isinstance(one, str))
            return f"exec {code.co_filename}" if hostile or not known else ""
        return ""

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        why = strange(event, arguments)
        if why:
            os.write(mine, (why[:200].replace("\n", " ") + "\n").encode())

    sys.addaudithook(hear)


if "PENSTOCK_JUDGE" in os.environ:
    _listen(*json.loads(os.environ["PENSTOCK_JUDGE"]))
