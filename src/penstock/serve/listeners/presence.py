"""Stage 4, serve: whether a client that sends no more still reads, or is gone.

    end of its stream --> `ask`: an interim answer, which a client that reads skips and a closed socket resets
                      --> `is_gone`: whether the kernel has had that reset

Both look the same when they come: TCP says only that nothing more will be sent. What a client that has gone still
waits for need not run. Source: RFC 9110, section 15.2 (interim answers); tcp(7), TCP_INFO.
"""

from __future__ import annotations

import asyncio
import socket

LOOK_S = 0.02
"""When it is asked, and how long after that it is looked first; from then on, each second."""
_PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
_CLOSED = 7
"""TCP_CLOSE in the kernel's numbers of states; a client that only stopped sending is in CLOSE_WAIT."""


def ask(transport: asyncio.Transport) -> None:
    """Send what only a client that has gone answers."""
    transport.write(_PROCESSING)


def is_gone(transport: asyncio.Transport) -> bool:
    """Whether it was answered so; a Unix socket needs no look, there the sending itself fails."""
    wire = transport.get_extra_info("socket")
    if wire is None or wire.family == socket.AF_UNIX:
        return False
    return bool(wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED)
