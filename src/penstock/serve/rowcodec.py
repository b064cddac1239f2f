"""The contract of a row codec: a dialect's usual request, of one row, decoded and encoded many at a time.

    body --decode--> row ... rows --stack--> conformed arrays --engine--> outputs --encode--> one body a row

A codec is made for one signature and one form of a request; what it does not know it refuses to decode, and the
complete path answers. It must answer byte for byte what the dialect's own `encode` would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from penstock import adapters
from penstock.tensors import Arrays, Signature

Row = object
"""A decoded request of one row; only its codec knows what it is."""


class Said(NamedTuple):
    """What requests say about themselves, one entry a row; empty where none says it.

    Attributes:
        keys: Routing keys; empty text where that row gave none.
        event_times: Seconds since the epoch; 0 where that row did not say.
        client_ids: The callers' own; empty text where that row gave none.
    """

    keys: Sequence[str] = ()
    event_times: Sequence[float] = ()
    client_ids: Sequence[str] = ()


NOTHING_SAID = Said()


class RunAnswers(NamedTuple):
    """What one variant answered to a run's rows; `ids` are ours, one a row, `client_ids` as in `Said`."""

    endpoint: str
    version: str
    ids: Sequence[str]
    rows: Sequence[Row]
    outputs: Arrays
    client_ids: Sequence[str] = ()


class Bodies(NamedTuple):
    """One answer a row, and the header lines each needs: content type and more, each ended by CR LF."""

    headers: Sequence[bytes]
    contents: Sequence[bytes]


class RowCodec(Protocol):
    """One form of a dialect's request, for one signature."""

    def decode(self, body: bytes) -> Row:
        """A request of the usual form.

        Raises:
            DecodeError: Of msgspec: it is another one.
            UnicodeDecodeError: It is no UTF-8.
        """

    def said(self, rows: Sequence[Row]) -> Said:
        """What the rows say about themselves."""

    def stack(self, rows: Sequence[Row]) -> Arrays:
        """Conformed arrays of all rows.

        Raises:
            InvalidInput: Some value is not allowed; the complete path says which.
            struct.error: Some value is out of range.
            OverflowError: Some value is out of range.
        """

    def encode(self, answers: RunAnswers) -> Bodies:
        """One answer a row."""


class RowCodecType(Protocol):
    """What the adapters' ``rowcodec`` table names."""

    @staticmethod
    def fit(signature: Signature, headers: Mapping[bytes, bytes]) -> RowCodec | None:
        """A codec for requests with these headers, the same one each time; None where none of them is usual."""


def find_codec(forms: Sequence[str], signature: Signature, headers: Mapping[bytes, bytes]) -> RowCodec | None:
    """The codec of the first form that fits; the same object for the same signature and headers that matter.

    Args:
        forms: Names in the adapters' ``rowcodec`` table.
        signature: Of the model.
        headers: Of a request.
    """
    for form in forms:
        found = cast("RowCodecType", adapters.load("rowcodec", form)).fit(signature, headers)
        if found is not None:
            return found
    return None
