"""The conformance kit's cases: data, one object each, in ``cases/*.json``.

Comes in: the files. Goes out: cases in the files' order. An unknown field or level is an error of the file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from penstock.errors import Corrupt

CaseLevel = Literal["required", "recommended", "extension"]
LEVELS: tuple[CaseLevel, ...] = ("required", "recommended", "extension")
FOLDER = Path(__file__).with_name("cases")
JSON = dict[str, object] | list[object] | str | int | float | bool | None


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it is written.

    Attributes:
        file: Path in the specification's repository, ``Triton extension: ...`` or ``RFC ...``.
        section: Heading, schema or section number.
    """

    file: str
    section: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.section}" if self.section else self.file


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request's template; `penstock.conformance.template` fills it from the model's metadata.

    Attributes:
        method: Of REST.
        path: Of REST, below the server's address.
        json: Body; objects with one key that starts with ``$`` are filled in.
        text: Body as it is, instead of `json`.
        style: How JSON is written: ``compact``, ``pretty``, ``reversed`` (keys), ``escaped`` (every character).
        headers: Sent as they are; an empty value leaves the header out.
        encoding: ``gzip``, or ``chunked`` for a body in pieces.
        tail: What stands behind the JSON part, beside the raw tensors: ``none`` takes them away, ``more`` adds to them.
        head: Value of ``Inference-Header-Content-Length``; the JSON part's length where it is ``right``.
        rpc: Method of gRPC.
        message: Its request's fields.
        expect: Of this step, where there are several.
    """

    method: str = "GET"
    path: str = ""
    json: JSON | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    style: Literal["compact", "pretty", "reversed", "escaped"] = "compact"
    headers: dict[str, str] = {}
    encoding: Literal["", "gzip", "chunked"] = ""
    tail: Literal["", "none", "more", "half"] = ""
    head: str = "right"
    rpc: str = ""
    message: dict[str, object] = {}
    expect: ExpectedAnswer | None = None


class TensorsExpected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inference answer.

    Attributes:
        id: What its id must be.
        outputs: Which outputs it has, and no others.
        binary: Whether they are raw bytes; None where either will do.
        same: It must say what the plain request of as many rows was told.
        rows: Of the request.
        version: It must name the version that was asked for.
        name: It must name the model.
    """

    id: str = ""
    outputs: Literal["all", "first", "last"] = "all"
    binary: bool | None = None
    same: bool = True
    rows: int = 1
    version: bool = False
    name: bool = False


class ExpectedAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer must be.

    Attributes:
        status: Any of these: ``200``, ``4xx``, ``error`` (400 and above).
        code: The same of gRPC: ``OK``, ``NOT_FOUND``, ``error`` (all but OK).
        body: Pattern of its JSON, or of its message.
        empty: An empty body will do as well.
        error: ``must``: it is ``{"error": text}``, or a status with text; ``if_refused``: where the status says error.
        answer: It is an inference answer; ``if_answered`` checks it where the status is 200.
        headers: Parts of headers' values.
        check: A further check by name, see `penstock.conformance.judge`.
    """

    status: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    body: JSON | msgspec.UnsetType = msgspec.UNSET
    empty: bool = False
    error: Literal["", "must", "if_refused"] = ""
    answer: TensorsExpected | None = None
    headers: dict[str, str] = {}
    check: str = ""


class ProtocolCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case.

    Attributes:
        id: Unique, dotted.
        title: What is expected, one sentence.
        level: ``required``: the specification says so; ``recommended``: it is silent, or HTTP, gRPC or JSON say so;
            ``extension``: judged where the server says that it has the extension.
        source: Where it is written.
        transport: Which address it needs; ``both`` needs both.
        ask: The requests, one after the other on one connection.
        expect: Of the last one.
        example: Instead of `ask` and `expect`: a seeded property, see `penstock.conformance.properties`.
        needs: What the model or the run must have, see `penstock.conformance.needs`.
        extensions: Names of which the server must list one.
        note: Where the specification contradicts itself, and what is therefore accepted.
    """

    id: str
    title: str
    level: CaseLevel
    source: Source
    transport: Literal["rest", "grpc", "both"] = "rest"
    ask: tuple[Asked, ...] = ()
    expect: ExpectedAnswer = ExpectedAnswer()
    example: str = ""
    needs: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    note: str = ""


@cache
def all_cases() -> tuple[ProtocolCase, ...]:
    """Every case, in the files' order.

    Raises:
        Corrupt: A file is not of this form, or two cases have one id.
    """
    found: list[ProtocolCase] = []
    for path in sorted(FOLDER.glob("*.json")):
        try:
            found += msgspec.json.decode(path.read_bytes(), type=list[ProtocolCase])
        except msgspec.DecodeError as error:
            raise Corrupt(f"{path.name}: {error}", "cases/*.json holds lists of cases") from None
    twice = {case.id for case in found if sum(other.id == case.id for other in found) > 1}
    if twice:
        raise Corrupt(f"two cases are called {min(twice)}", "give each its own id")
    return tuple(found)
