"""Stage 4, serve: the frames of an HTTP/2 connection that are about no request: SETTINGS, PING, GOAWAY and the like.

Each costs the connection's account something, because each makes us do something for nobody (RFC 9113, section 10.5).
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.serve.listeners import http2_frames as h2
from penstock.serve.listeners.http2_frames import ConnectionFault, StreamFault
from penstock.serve.listeners.http2_limits import CONTROL_COST, PING_COST, SETTINGS_COST, Account, Http2Limits
from penstock.serve.listeners.http2_outflow import Outflow
from penstock.serve.listeners.http2_stream import Http2Stream


class Peer:
    """What the client says of the connection.

    Args:
        limits: Sizes.
        out: The sending half, which its SETTINGS are about.
        account: What it may still make us do.
        streams: Open ones by number.

    Attributes:
        settled: Its SETTINGS are here.
        acknowledged: It knows ours.
        pong: What its last acknowledged PING carried.
        leaving: It opens no more streams.
    """

    __slots__ = ("_account", "_limits", "_out", "_streams", "acknowledged", "leaving", "pong", "settled")

    def __init__(self, limits: Http2Limits, out: Outflow, account: Account, streams: Mapping[int, Http2Stream]) -> None:
        self._limits = limits
        self._out = out
        self._account = account
        self._streams = streams
        self.settled = False
        self.acknowledged = False
        self.pong = b""
        self.leaving = False

    def take_settings(self, flags: int, number: int, payload: bytes) -> None:
        """SETTINGS (section 6.5)."""
        if number:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "SETTINGS are the connection's")
        if flags & h2.ACK:
            if payload:
                raise ConnectionFault(h2.FRAME_SIZE_ERROR, "an acknowledgement says nothing")
            self.acknowledged = True
            return
        if self.settled:
            self._account.spend(SETTINGS_COST)
        self.settled = True
        pairs = h2.read_settings(payload)
        if len(pairs) > self._limits.settings:
            raise ConnectionFault(h2.ENHANCE_YOUR_CALM, "too many settings")
        for key, value in pairs:
            self._set(key, value)
        self._out.put(h2.frame(h2.SETTINGS, h2.ACK, 0))

    def _set(self, key: int, value: int) -> None:
        if key == h2.INITIAL_WINDOW_SIZE:
            if value > h2.MOST_WINDOW:
                raise ConnectionFault(h2.FLOW_CONTROL_ERROR, "a window that large cannot be")
            self._out.resize(value, self._streams.values())
        elif key == h2.MAX_FRAME_SIZE:
            if not h2.LEAST_FRAME <= value <= h2.MOST_FRAME:
                raise ConnectionFault(h2.PROTOCOL_ERROR, "a frame size that cannot be")
            self._out.frame_bytes = min(value, self._limits.frame_bytes)
        elif key == h2.ENABLE_PUSH and value > 1:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")

    def take_ping(self, flags: int, number: int, payload: bytes) -> None:
        """PING (section 6.7)."""
        if number:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "PING is the connection's")
        if len(payload) != 8:
            raise ConnectionFault(h2.FRAME_SIZE_ERROR, "PING is eight bytes")
        self._account.spend(PING_COST)
        if not flags & h2.ACK:
            self._out.put(h2.frame(h2.PING, h2.ACK, 0, payload))
        else:
            self.pong = payload

    def take_goaway(self, flags: int, number: int, payload: bytes) -> None:
        """GOAWAY (section 6.8): the client opens no more streams."""
        if number:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "GOAWAY is the connection's")
        if len(payload) < 8:
            raise ConnectionFault(h2.FRAME_SIZE_ERROR, "GOAWAY is eight bytes at least")
        self._account.spend(CONTROL_COST)
        self.leaving = True

    def take_priority(self, flags: int, number: int, payload: bytes) -> None:
        """PRIORITY (section 6.3) is checked and ignored."""
        self._account.spend(CONTROL_COST)
        if not number:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "PRIORITY is a stream's")
        if len(payload) != 5:
            raise StreamFault(number, h2.FRAME_SIZE_ERROR)

    def take_push(self, flags: int, number: int, payload: bytes) -> None:
        """PUSH_PROMISE is a server's alone (section 8.4)."""
        raise ConnectionFault(h2.PROTOCOL_ERROR, "a client does not push")

    def take_unknown(self, flags: int, number: int, payload: bytes) -> None:
        """Kinds that the RFC does not know are ignored (section 4.1)."""
        self._account.spend(CONTROL_COST)
