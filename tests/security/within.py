"""A template inside the sandbox's walls, which has the libraries loaded: each artifact gets a fork of it.

The walls are those of every sandboxed process: `tests/runtime/test_sandbox.py` tries the same attacks in both.
"""

from __future__ import annotations

import json
import socket
import sys
from base64 import b64encode
from importlib import import_module
from pathlib import Path

from penstock.errors import PenstockError
from penstock.runtime.confined import receive, send


def serve(arguments: dict[str, list[str]], scratch: str, descriptor: int, orders: object) -> None:
    """Load, then answer one order in each fork: what a task answers."""
    del scratch
    for name in arguments["preload"]:
        try:
            import_module(name)
        except ImportError:
            continue
    channel = socket.socket(fileno=descriptor)
    channel.sendall(b"!")
    own = orders.wait(channel, lambda theirs, why: theirs.sendall(b"?" + why.encode()))  # type: ignore[attr-defined]
    if own is None:
        return
    own.sendall(b"!")
    asked = json.loads(receive(own.fileno()))
    module, _, name = asked["entry"].rpartition(":")
    try:
        answer = json.dumps({"answer": getattr(import_module(module), name)(asked["arguments"], Path.cwd())})
    except PenstockError as error:
        fields = {"message": error.message, "hint": error.hint, "code": error.code, "where": error.where}
        answer = json.dumps({"refused": type(error).__name__, **fields})
    except MemoryError:
        answer = json.dumps({"failed": "MemoryError", "message": ""})
    except Exception as error:
        sys.excepthook(*sys.exc_info())
        answer = json.dumps({"failed": type(error).__name__, "message": str(error)[:2000]})
    # Its folder is in a file system of its own, which nobody outside sees.
    made = {path.name: b64encode(path.read_bytes()).decode() for path in Path.cwd().iterdir() if path.is_file()}
    send(own.fileno(), json.dumps(json.loads(answer) | {"files": made}).encode())
