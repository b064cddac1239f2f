"""Protobuf's text format, read strictly: what Triton's ``config.pbtxt`` is written in. No library, no schema.

    name: "m"  input [{ name: "x" dims: [ 3, -1 ] }]   ->   {"name": ["m"], "input": [{"name": ["x"], "dims": [3, -1]}]}

What comes in: a file's bytes. What goes out: every field as the list of its values, in order; who reads it says which
fields there are and how often. Source: protobuf.dev/reference/protobuf/textformat-spec; extensions and ``Any`` are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from penstock.errors import Untrusted

MAX_TEXT_BYTES = 1 << 20
MAX_TOKENS = 100_000
MAX_NESTING = 32

Fields = dict[str, list[object]]
"""Field -> its values: text, `Word`, int, float or `Fields`."""

_TOKEN = re.compile(
    r"""(?:[ \t\r\n]|\#[^\n]*)*(?:
      (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<float>-?(?:[0-9]+\.[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)[fF]?
        |-?[0-9]+[fF](?![0-9A-Fa-fxX])|-(?:inf|nan)\b)
    | (?P<int>-?(?:0[xX][0-9A-Fa-f]+|0[0-7]*|[1-9][0-9]*))(?![0-9A-Za-z_.])
    | (?P<text>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
    | (?P<mark>[\[\]{}<>:;,])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:([abfnrtv?'\"\\])|([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_PLAIN = dict(zip(b"abfnrtv?'\"\\", b"\a\b\f\n\r\t\v?'\"\\", strict=True))
_CLOSING = {"{": "}", "<": ">"}


class Word(str):
    """A bare word: the name of an enum's value, or true and false."""

    __slots__ = ()


def read_fields(data: bytes) -> Fields:
    """The message of a text file.

    Raises:
        Untrusted: It is no text format, too large, too deep or too long.
    """
    if len(data) > MAX_TEXT_BYTES:
        _refuse("it is too large")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        _refuse("it is no UTF-8")
    return _Reader(text).message("", 0)


class _Reader:
    """Token by token.

    Args:
        text: All of it.
    """

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._kind, self._token = next(self._tokens)

    def message(self, closing: str, depth: int) -> Fields:
        """Fields up to the closing mark."""
        if depth > MAX_NESTING:
            _refuse("it is too deep")
        found: Fields = {}
        while not (self._kind == "end" if closing == "" else self._at(closing)):
            name = self._take("word")
            colon = self._skip(":")
            known = found.setdefault(name, [])
            if self._skip("["):
                known.extend(self._list(colon, depth))
            else:
                known.append(self._value(colon, depth))
            if not self._skip(","):
                self._skip(";")
        if closing:
            self._skip(closing)
        return found

    def _list(self, colon: bool, depth: int) -> Iterator[object]:
        """Values between square brackets."""
        if self._skip("]"):
            return
        while True:
            yield self._value(colon, depth)
            if self._skip("]"):
                return
            if not self._skip(","):
                _refuse("a list of it does not end")

    def _value(self, colon: bool, depth: int) -> object:
        """A message, which needs no colon, or a scalar, which does."""
        if self._kind == "mark" and self._token in _CLOSING:
            closing = _CLOSING[self._token]
            self._next()
            return self.message(closing, depth + 1)
        if not colon:
            _refuse("a value of it stands without a colon")
        kind, token = self._kind, self._token
        if kind == "text":
            return self._text()
        self._next()
        if kind == "word":
            return Word(token)
        if kind == "int":
            return _whole(token)
        if kind == "float":
            return float(token.rstrip("fF") if token not in ("-inf", "-nan") else token)
        _refuse("a value of it is missing")

    def _text(self) -> str:
        """Strings side by side are one."""
        parts = b""
        while self._kind == "text":
            parts += _ESCAPE.sub(_unescaped, self._token[1:-1].encode())
            self._next()
        try:
            return parts.decode()
        except UnicodeDecodeError:
            _refuse("a text of it is no UTF-8")

    def _take(self, kind: str) -> str:
        """The token, which has to be of a kind."""
        token = self._token
        if self._kind != kind:
            _refuse("the name of a field is missing")
        self._next()
        return token

    def _skip(self, mark: str) -> bool:
        """Whether the mark was there; it is behind us then."""
        there = self._at(mark)
        if there:
            self._next()
        return there

    def _at(self, mark: str) -> bool:
        return self._kind == "mark" and self._token == mark

    def _next(self) -> None:
        if self._kind == "end":
            _refuse("it ends too early")
        self._kind, self._token = next(self._tokens)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text, at last the end."""
    at = 0
    for _ in range(MAX_TOKENS):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            _refuse("it has a sign that the format does not know")
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()
    _refuse("it is too long")


def _whole(token: str) -> int:
    """Decimal, hexadecimal or octal; no field holds more than 64 bits."""
    digits = token.lstrip("-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") and digits != "0" else 10
    if len(digits) > 24:
        _refuse("a number of it is too large")
    value = int(digits, base)
    if value >= 1 << 64:
        _refuse("a number of it is too large")
    return -value if token.startswith("-") else value


def _unescaped(found: re.Match[bytes]) -> bytes:
    """One escape of a string."""
    plain, octal, wide, point, _ = found.groups()
    if plain is not None:
        return bytes([_PLAIN[plain[0]]])
    if octal is not None and int(octal, 8) < 256:
        return bytes([int(octal, 8)])
    if wide is not None:
        return bytes([int(wide, 16)])
    if point is not None and not 0xD800 <= int(point, 16) < 0xE000:
        return chr(int(point, 16)).encode()
    _refuse("a text of it has an escape that is none")


def _refuse(why: str) -> NoReturn:
    raise Untrusted(
        f"the configuration cannot be read: {why}", "write it as protobuf's text format", code="build.pbtxt"
    )
