"""Stage 4, serve: what one HTTP/2 connection may cost, and the account of frames that cost us more than their sender.

Each attack of this family sends something small that makes the receiver work: streams opened and reset at once
(CVE-2023-44487), CONTINUATION without end (CVE-2024-27316), PING, SETTINGS, PRIORITY, RST_STREAM, empty DATA
(CVE-2019-9512 to 9518). All draw on one balance, which time and answered requests refill.
"""

from __future__ import annotations

import msgspec

from penstock.serve.listeners.http2_frames import ENHANCE_YOUR_CALM, ConnectionFault


class Http2Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and times of HTTP/2 connections.

    Attributes:
        head_bytes: Of a header block, and of the list it decodes to with 32 bytes a field more.
        continuations: CONTINUATION frames of one block.
        frame_bytes: Of one frame's payload.
        streams: Open at once.
        window_bytes: What a connection may send before we say more.
        stream_bytes: The same for one stream.
        held_bytes: Of messages that are still coming, over all of a connection's streams.
        queued_bytes: Of answers that its windows do not let out; beyond it requests are refused.
        message_bytes: Of one message, as sent and decompressed.
        messages: Of one stream that wait for their answer; no more are read meanwhile.
        settings: In one SETTINGS frame.
        connections: Of one worker.
        balance: What the account holds.
        refill: What it gets a second.
        head_s: Until preface and SETTINGS are here, our SETTINGS are acknowledged, a header block is whole.
        body_s: After this time a message must have come at `body_bytes_s` on average.
        body_bytes_s: Bytes a second.
        read_s: An answer of which nothing could be sent for so long ends its stream, or the connection.
        ping_s: A silent connection with open streams is asked whether it lives; after twice this time it is dead.
        idle_s: A connection without a stream is kept for so long.
    """

    head_bytes: int = 32 << 10
    continuations: int = 16
    frame_bytes: int = 128 << 10
    streams: int = 256
    window_bytes: int = 16 << 20
    stream_bytes: int = 2 << 20
    held_bytes: int = 160 << 20
    queued_bytes: int = 64 << 20
    message_bytes: int = 64 << 20
    messages: int = 16
    settings: int = 32
    connections: int = 8192
    balance: int = 4000
    refill: int = 2000
    head_s: float = 7.0
    body_s: float = 7.0
    body_bytes_s: float = 8192.0
    read_s: float = 8.0
    ping_s: float = 60.0
    idle_s: float = 300.0


RESET_COST = 4
SETTINGS_COST = 40
CONTROL_COST = 1
PING_COST = 2
CRUMB_COST = 1
"""A DATA frame of less than `CRUMB_BYTES` that ends nothing."""
CRUMB_BYTES = 64
MALFORMED_COST = 20
ANSWER_CREDIT = 20


class Account:
    """What a connection may still make us do.

    Args:
        most: Its first balance, never exceeded.
    """

    __slots__ = ("_most", "left")

    def __init__(self, most: int) -> None:
        self._most = most
        self.left = most

    def spend(self, cost: int) -> None:
        """Pay for a frame.

        Raises:
            ConnectionFault: Nothing is left.
        """
        self.left -= cost
        if self.left < 0:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def earn(self, credit: int) -> None:
        """A request was answered, or a second is over."""
        self.left += credit
        self.left = min(self.left, self._most)
