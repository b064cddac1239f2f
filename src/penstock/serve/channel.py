"""Stage 4, serve: what supervisor and worker say to each other, over a socket pair that dies with either.

    supervisor --serve(number), look, drain--> worker          worker --alive, settled--> supervisor

One message a packet, JSON. The end of the stream means that the other side is dead.
"""

from __future__ import annotations

import socket
from typing import Literal

import msgspec

_MOST_BYTES = 4096


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One packet.

    Attributes:
        what: ``serve``: accept connections as worker `number`. ``look``: the snapshot is another file. ``drain``:
            finish and exit. ``alive``: the event loop turns. ``settled``: the first snapshot was tried; its models are
            ready or known to be broken.
        now: Accept at once, before anything is loaded: nobody else would answer.
        rolling: Others go on accepting, so idle clients get time to ask once more and be told to reconnect.
    """

    what: Literal["serve", "look", "drain", "alive", "settled"]
    number: int = 0
    now: bool = False
    rolling: bool = False


_decode = msgspec.json.Decoder(Message).decode


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends, packets kept apart, not blocking."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def say(end: socket.socket, message: Message) -> bool:
    """Send a message; False where the other side is dead or does not listen."""
    try:
        end.send(msgspec.json.encode(message))
    except OSError:
        return False
    return True


def hear(end: socket.socket) -> list[Message] | None:
    """What has come; None when the other side is dead."""
    heard: list[Message] = []
    while True:
        try:
            packet = end.recv(_MOST_BYTES)
        except BlockingIOError:
            return heard
        except OSError:
            return None
        if not packet:
            # What was said before the end still counts, the end is heard next time.
            return heard or None
        heard.append(_decode(packet))
