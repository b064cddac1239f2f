"""Stage 4, serve: the dialects in the order in which they are asked for a path, each loaded when its turn first comes.

Most data planes hear one or two of them: the others cost their start and their memory nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.adapters import TABLE, load
from penstock.serve.protocol import Manner, ServingProtocol


class Dialects:
    """The adapters' ``protocol`` table, and its ``service`` table where somebody can call one.

    Args:
        manner: How each speaks here.
        grpc: Whether there is a listener for services.
    """

    def __init__(self, manner: Manner, *, grpc: bool = False) -> None:
        self._manner = manner
        kinds = ("service", "protocol") if grpc else ("protocol",)
        self._names = [(kind, name) for kind in kinds for name in TABLE[kind]]
        self._loaded: list[ServingProtocol] = []

    def __iter__(self) -> Iterator[ServingProtocol]:
        for place, (kind, name) in enumerate(self._names):
            if place == len(self._loaded):
                self._loaded.append(load(kind, name)(self._manner))
            yield self._loaded[place]
