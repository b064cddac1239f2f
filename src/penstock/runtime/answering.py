"""The worker's side of the python engine, inside the sandbox: load the model once, then answer frame by frame.

It runs in the model's own environment, so it imports numpy, msgspec and what the model's kind needs.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import msgspec

from penstock.runtime.frames import Header, Load, pack, read_exactly, read_frame
from penstock.runtime.original import answer, load_original
from penstock.tensors import DTYPES, Arrays, Signature


def serve(arguments: object, scratch: str, descriptor: int) -> None:
    """Answer until the socket ends; the first frame says that the model is loaded.

    Args:
        arguments: A `Load` as decoded JSON.
        scratch: The only writable folder.
        descriptor: The channel to the engine.
    """
    load = msgspec.convert(arguments, Load)
    model = load_original(Path(load.path), load.kind)
    channel = socket.socket(fileno=descriptor)
    channel.sendall(pack(Header()))
    while True:
        try:
            header, arrays = read_frame(lambda length: read_exactly(channel, length))
        except EOFError:
            return
        try:
            frame = pack(Header(id=header.id), _fitted(load.signature, answer(model, load.signature.inputs, arrays)))
        except MemoryError:
            raise  # what it holds is lost with the process; the engine starts another
        except Exception as error:
            sys.excepthook(*sys.exc_info())
            frame = pack(Header(id=header.id, failed=type(error).__name__, message=str(error)[:2000]))
        channel.sendall(frame)


def _fitted(signature: Signature, answers: Arrays) -> Arrays:
    """The signature's outputs, in its order and datatypes."""
    return {spec.name: answers[spec.name].astype(DTYPES[spec.datatype], copy=False) for spec in signature.outputs}
