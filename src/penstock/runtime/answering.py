"""The worker's side of the python engine, inside the sandbox: load the model once, then answer frame by frame.

It runs in the model's own environment, so it imports numpy, msgspec and what the model's kind needs. SIGINT ends the
request that it is working on, never the process: nobody waits for that answer any more.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from penstock.errors import PenstockError
from penstock.runtime.frames import Buffer, Header, Inbox, Load, buffers
from penstock.runtime.joinedtrees import join_trees
from penstock.runtime.orders import Orders
from penstock.runtime.original import bind
from penstock.runtime.transformed import load_transformed
from penstock.tensors import DTYPES, Arrays, Signature

CANCELLED = "Cancelled"
_AT_ONCE = 64 << 10


class Cancelled(BaseException):
    """Whoever asked has gone."""


class LoadedModel:
    """One loaded model and the request that it works on.

    Attributes:
        busy: Whether there is a request that may be ended.
    """

    def __init__(self, model: object, signature: Signature) -> None:
        self.busy = False
        self._answer = bind(model, signature.inputs)
        self._dtypes = [(spec.name, DTYPES[spec.datatype]) for spec in signature.outputs]

    def interrupted(self, signum: int, frame: object) -> None:
        """The signal's handler."""
        del signum, frame
        if self.busy:
            self.busy = False
            raise Cancelled

    def answer(self, header: Header, arrays: Arrays) -> list[Buffer]:
        """The answer's frame, or how it failed."""
        try:
            self.busy = True
            outputs = self._answer(arrays)
            self.busy = False
            # The signature's outputs, in its order and datatypes.
            return buffers(Header(header.id), {n: outputs[n].astype(d, copy=False) for n, d in self._dtypes})
        except MemoryError:
            raise  # what it holds is lost with the process; the engine starts another
        except Cancelled:
            return buffers(Header(header.id, failed=CANCELLED))
        except Exception as error:
            self.busy = False
            sys.excepthook(*sys.exc_info())
            return buffers(Header(header.id, failed=type(error).__name__, message=str(error)[:2000]))


def serve(arguments: object, scratch: str, descriptor: int, orders: Orders | None) -> None:
    """Answer until the socket ends; the first frame says that the model is loaded.

    Args:
        arguments: A `Load` as decoded JSON.
        scratch: The only writable folder.
        descriptor: The channel to the engine.
        orders: Of workers, which do the same at sockets of their own; None where it cannot have any.
    """
    gc.disable()
    load = msgspec.convert(arguments, Load)
    channel = socket.socket(fileno=descriptor)
    inbox = Inbox()
    try:
        model = load_transformed(Path(load.path), load.kind, load.transforms)
        join_trees(model)
        worker = LoadedModel(model, load.signature)
    except MemoryError:
        raise
    except PenstockError as error:
        _send(channel, buffers(Header(refused=type(error).__name__, message=error.message)))
        return
    except Exception as error:
        sys.excepthook(*sys.exc_info())
        _send(channel, buffers(Header(failed=type(error).__name__, message=str(error)[:2000])))
        return
    # Library and model stay: walking through all their objects now and then would cost some requests a multiple.
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGINT, worker.interrupted)
    _send(channel, buffers(Header()))
    warm = False
    while True:
        if orders is not None and (own := orders.wait(channel, _excuse)) is not None:
            channel, orders = own, None
            _send(channel, buffers(Header()))
        try:
            while (frame := inbox.receive(channel)) is None:
                pass
        except EOFError:
            return
        try:
            pieces = worker.answer(*frame)
        except Cancelled:  # it came while another failure was told
            pieces = buffers(Header(frame[0].id, failed=CANCELLED))
        _send(channel, pieces)
        if orders is not None and not warm:
            # The first answer, a golden one, brought in what every answer needs: that is the workers', too.
            warm = True
            gc.freeze()


def _excuse(channel: socket.socket, why: str) -> None:
    """Say at a worker's socket that there will be none."""
    with suppress(OSError):
        _send(channel, buffers(Header(refused="NotReady", message=why)))


def _send(channel: socket.socket, pieces: list[Buffer]) -> None:
    """All of it, small ones in one go."""
    if sum(map(len, pieces)) <= _AT_ONCE:
        data = b"".join(pieces)
        # The sandbox looks at where a socket's send goes each time; a plain write goes nowhere else.
        data = data[os.write(channel.fileno(), data) :]
        if data:
            channel.sendall(data)
        return
    for piece in pieces:
        channel.sendall(piece)
