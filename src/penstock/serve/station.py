"""Stage 4, serve: which requests may be answered with their whole turn, and by whom.

Comes in: an endpoint as the board has it, a dialect's forms, a request's headers. Goes out: the express for all
requests like it, or none where they have to go the complete way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.serve.board import ServedEndpoint
from penstock.serve.express import Express
from penstock.serve.ids import Ids
from penstock.serve.rowcodec import RowCodec, find_codec
from penstock.serve.visit import Desk


class Station:
    """Where the expresses are: one an endpoint and form, shared by all tickets of an epoch.

    Args:
        desk: What all requests share.
        ids: New prediction ids.
    """

    def __init__(self, desk: Desk, ids: Ids) -> None:
        self._desk = desk
        self._ids = ids
        self._epoch: object = None
        self._expresses: dict[tuple[str, RowCodec], Express] = {}

    def express(
        self, epoch: object, endpoint: ServedEndpoint, forms: Sequence[str], headers: Mapping[bytes, bytes]
    ) -> Express | None:
        """The express for requests with these headers; None where they have to go the complete way."""
        if endpoint.shadows or endpoint.route.limits.log == "strict" or endpoint.route.limits.nan != "null":
            return None
        if not all(arm.model.manifest.signature == endpoint.signature for arm in endpoint.arms):
            return None
        codec = find_codec(forms, endpoint.signature, headers)
        if codec is None:
            return None
        if epoch is not self._epoch:
            self._epoch = epoch
            self._expresses.clear()
        key = (endpoint.route.endpoint, codec)
        found = self._expresses.get(key)
        if found is None:
            found = self._expresses[key] = Express(self._desk, self._ids, endpoint, codec)
        return found
