"""A model in a process of its own behind walls: asked and answered through one socket.

Comes in: the process as the sandbox started or forked it. Goes out: `SandboxedModel`: frames to it and from it, waited
for or not, and how it ended.
"""

from __future__ import annotations

import math
import signal
import socket
import time
from tempfile import TemporaryDirectory

from penstock.errors import ModelFailed
from penstock.runtime.frames import Header, Inbox
from penstock.runtime.memory import resident_bytes
from penstock.runtime.process import Confined, Forked, died
from penstock.tensors import Arrays

_FRAME_S = 10.0


class SandboxedModel:
    """One loaded process.

    Attributes:
        pid: Of the model process.
        busy_since: When it was handed what it is working on (``time.monotonic``); 0 while idle.
        most: Bytes that its answer may have; a hostile model must not fill this process's memory.
        killed: Once it has ended: somebody outside killed it, it did not die of itself.
    """

    def __init__(self, confined: Confined | Forked, scratch: TemporaryDirectory[str] | None = None) -> None:
        self.pid = confined.pid
        self.busy_since = 0.0
        self.killed = False
        self._confined = confined
        self._channel = confined.channel
        self._scratch = scratch
        self._inbox = Inbox(0)
        self._unsent = memoryview(b"")
        self._patience: float | None = -1.0

    @property
    def most(self) -> int:
        """See above."""
        return self._inbox.most

    @most.setter
    def most(self, size: int) -> None:
        self._inbox.most = size

    def fileno(self) -> int:
        """Of its socket, for an event loop."""
        return self._channel.fileno()

    def alive(self) -> bool:
        """Whether its end of the socket is open, without waiting."""
        try:
            self._wait_at_most(0)
            return self._channel.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def offer(self, frame: bytes) -> bool:
        """Hand it a request without waiting; whether all of it left, else `go_on` sends the rest.

        Raises:
            OSError: It is gone.
        """
        self._wait_at_most(0)
        self.busy_since = time.monotonic()
        self._unsent = memoryview(frame)
        return self.go_on()

    @property
    def unsent(self) -> bool:
        """Whether a part of what `offer` began is still here."""
        return bool(self._unsent)

    def go_on(self) -> bool:
        """Send more of what `offer` began; whether that was all. Errors as `offer`."""
        try:
            self._unsent = self._unsent[self._channel.send(self._unsent) :]
        except BlockingIOError:
            return False
        return not self._unsent

    def look(self) -> tuple[Header, Arrays] | None:
        """What it answers, without waiting; None while that is not all there. Errors as `receive`."""
        self._wait_at_most(0)
        try:
            frame = self._inbox.receive(self._channel)
        except BlockingIOError:
            return None
        if frame is not None:
            self.busy_since = 0.0
        return frame

    def send(self, frame: bytes, limit_s: float) -> None:
        """Hand it a request.

        Raises:
            OSError: It is gone, or did not take it within `limit_s`.
        """
        self._wait_at_most(limit_s)
        self.busy_since = time.monotonic()
        try:
            self._channel.sendall(frame)
        except TimeoutError:  # a frame sent by half is the end of the stream
            raise BrokenPipeError from None

    def receive(self, deadline: float) -> tuple[Header, Arrays]:
        """Wait for what it answers.

        Raises:
            TimeoutError: The deadline (``time.monotonic``) passed before the answer began; it may still come.
            EOFError: It is gone, or stopped in the middle.
            OSError: It is gone.
            ValueError: It sent no frame.
        """
        frame = None
        whole = math.inf
        while frame is None:
            self._wait_at_most(max(min(deadline, whole) - time.monotonic(), 1e-3))
            try:
                frame = self._inbox.receive(self._channel)
            except TimeoutError:
                if not self._inbox.begun:
                    raise
                if time.monotonic() >= whole:
                    raise EOFError from None
            if math.isinf(whole):
                deadline = whole = time.monotonic() + _FRAME_S
        self.busy_since = 0.0
        return frame

    def fork(self) -> Forked:
        """Order a process that has loaded what this one has.

        Raises:
            OSError: This one is gone.
            ValueError: It is one of those itself.
        """
        if isinstance(self._confined, Forked):
            raise ValueError("a worker has no workers")
        return self._confined.fork()

    def resident_bytes(self) -> int:
        """Memory that it holds now; 0 where that cannot be told."""
        return resident_bytes(self.pid)

    def cancel(self) -> None:
        """Have it stop what it works on: nobody waits for it any more."""
        self._confined.signal(signal.SIGINT)

    def interrupt(self) -> None:
        """Have it ended while somebody waits for its answer."""
        self._confined.end()

    def end(self) -> ModelFailed:
        """End it, and tell how it ended."""
        ending = self._confined.close()
        self.killed = ending.code == -signal.SIGKILL and ending.reason != "threads"
        if self._scratch is not None:
            self._scratch.cleanup()
        return died("the model", ending)

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._patience:
            self._patience = seconds
            self._channel.settimeout(seconds)
