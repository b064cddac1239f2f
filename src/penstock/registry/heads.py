"""The signed head: where the chain stands now, small enough to be kept anywhere else.

A chain proves that nothing inside it was changed; it cannot prove that its end, or all of it, was not put back
to an earlier day. A head kept outside the home folder (a mail, a log, another machine) can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from penstock.access.keys import PublicKey, SigningKey
from penstock.errors import Corrupt, NotFound
from penstock.records import SignedHead, decode, encode


def sign_head(seq: int, digest: str, time: float, *, key: SigningKey) -> SignedHead:
    """The head record of a chain whose last event has that number and hash."""
    return SignedHead(seq=seq, hash=digest, time=time, signature=key.sign(_content(seq, digest, time)))


def check_head(head: SignedHead, keys: Sequence[PublicKey]) -> bool:
    """Whether one of the keys signed it."""
    content = _content(head.seq, head.hash, head.time)
    return any(key.verify(content, head.signature) for key in keys)


def read_head(path: Path) -> SignedHead:
    """Read a head from a file.

    Raises:
        NotFound: There is no such file.
        Corrupt: It holds something else.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound("there is no signed head in that place", "name the file that was kept") from error
    try:
        head = decode(data, SignedHead)
        # A number can be spelled in two ways, and a head that was touched is not the one that was signed.
        if encode(head) != data:
            raise Corrupt("it is not spelled as it was written")
        return head
    except Corrupt as error:
        raise Corrupt(f"{path.name} is no signed head", "use another copy of it", where=path.name) from error


def _content(seq: int, digest: str, time: float) -> bytes:
    return hashlib.sha256(encode({"seq": seq, "hash": digest, "time": time})).digest()
