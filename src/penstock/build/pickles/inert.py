"""Reads a pickle's stream as joblib does, with inert stand-ins for everything that it names: nothing of it is run.

What comes in: an open file. What goes out: each name that is looked up, told as it is met. A reader that understands
the stream otherwise than the loader would miss what the loader sees. What decides how many bytes are read, joblib's
array wrapper and numpy's dtype, is therefore taken in the one form in which joblib writes it, and refused in any other.
"""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from math import prod
from typing import IO, ClassVar

import numpy as np

from penstock.errors import Untrusted

WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
DTYPE = "numpy.dtype"
TYPE = "builtins.type"
MAX_KEY_PARTS = 1000
_CHUNK_BYTES = 1 << 20
_MOST_KEPT = 1 << 16
_MOST = 1 << 48
_ORDERS = ("C", "F")
_WRAPPED = frozenset({"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"})
_PLAIN = (str, bytes, int, float, complex, bool, type(None))

_PUTS = frozenset({pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE})
_GETS = frozenset({pickle.GET, pickle.BINGET, pickle.LONG_BINGET})
_NUMBERED = frozenset({pickle.EXT1, pickle.EXT2, pickle.EXT4})
_KEYED = frozenset({pickle.SETITEM, pickle.SETITEMS, pickle.DICT, pickle.ADDITEMS, pickle.FROZENSET})
_FILLED = frozenset({pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS})
# Between an array's wrapper and its state joblib writes the state alone: texts, numbers, two classes, one dtype.
_OF_A_WRAPPER = (
    _PUTS
    | _GETS
    | {
        pickle.FRAME, pickle.MARK, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2,
        pickle.TUPLE3, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2,
        pickle.LONG1, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE,
        pickle.SETITEM, pickle.SETITEMS, pickle.BUILD,
    }
)  # fmt: skip


class Inert:
    """Stands for whatever a pickle names or makes; swallows what is put into it."""

    def __new__(cls, *_: object, **__: object) -> Inert:
        """With whatever it is given."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Nothing."""

    def extend(self, items: object) -> None:
        """Nothing."""

    def add(self, item: object) -> None:
        """Nothing."""


class _Wrapper(Inert):
    """Stands for joblib's note that an array's bytes follow."""


class _Dtype(Inert):
    """Stands for numpy's class of dtypes; what is made of it is a real one, because it says how long an item is."""


class _Type(Inert):
    """Stands for ``type``, which tells an object's class, and could make new ones."""


class _Numbers:
    """Stands for bytes that are too long to keep, as a plain pickle's arrays have them: nothing can be done to it."""


_STAND_INS: dict[str, type[Inert]] = {WRAPPER: _Wrapper, DTYPE: _Dtype, TYPE: _Type}


# The reader in Python itself is what joblib's derives from; its parts have no public names.
class InertReader(pickle._Unpickler):
    """Reads one stream.

    Args:
        file: At the stream's start.
        note: Told each name as ``module.attribute``; an attribute of an attribute as ``module:outer.inner``.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes], note: Callable[[str], None]) -> None:
        super().__init__(file)
        self._file = file
        self._note = note
        self._wrapper: _Wrapper | None = None
        self._unframer = pickle._Unframer(file.read, file.readline)  # type: ignore[attr-defined]

    def load(self) -> object:
        """Read to the stream's end.

        Raises:
            Untrusted: It does what no saved model does, or holds arrays in a form that joblib does not write.
            EOFError: It ends too early; other errors of unpickling say that it is damaged.
        """
        self._unframer = pickle._Unframer(self._file.read, self._file.readline)  # type: ignore[attr-defined]
        self.read, self.readinto = self._unframer.read, self._unframer.readinto
        self.readline = self._unframer.readline
        self.metastack: list[list[object]] = []
        self.stack: list[object] = []
        self.append = self.stack.append
        self.proto = 0
        try:
            while key := self.read(1):
                self._look_before(key)
                self.dispatch[key[0]](self)
                if self.stack and isinstance(self.stack[-1], _Wrapper) and key in _GETS:
                    raise _odd("uses the note before an array twice")
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            value: object = stop.value
            return value
        raise EOFError

    def find_class(self, module: str, name: str) -> type[Inert]:
        """A stand-in; names of Python 2 are those that the loader makes of them."""
        if self.proto < 3:
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}:{name}" if "." in name else f"{module}.{name}"
        self._note(full)
        return _STAND_INS.get(full, Inert)

    def persistent_load(self, identity: object) -> object:
        """Refuse: a pickle that refers outside of itself is no model."""
        raise _odd("refers to something outside of it")

    def _look_before(self, key: bytes) -> None:
        """Refuse what would be understood otherwise by the loader, or what no pickler writes."""
        if key in _NUMBERED:
            raise _odd("names code by a number")
        top = self.stack[-1] if self.stack else None
        below = self.stack[-2] if len(self.stack) > 1 else None
        if top is _Wrapper and key not in _PUTS and key != pickle.EMPTY_TUPLE:
            raise _odd("uses the note before an array as no note")
        if below is _Wrapper and key != pickle.NEWOBJ:
            raise _odd("uses the note before an array as no note")
        if self._wrapper is not None and key not in _OF_A_WRAPPER:
            raise _odd("goes on before an array's note is whole")
        if key in _KEYED:
            self._require_small_keys(key)
        if isinstance(self._filled(key), type):
            raise _odd("changes a class")

    def _filled(self, key: bytes) -> object:
        """What an opcode is about to put something into; None of any other opcode."""
        if key in _FILLED and self.metastack and self.metastack[-1]:
            return self.metastack[-1][-1]
        depth = {pickle.APPEND: 2, pickle.SETITEM: 3}.get(key, 0)
        return self.stack[-depth] if 0 < depth <= len(self.stack) else None

    def _require_small_keys(self, key: bytes) -> None:
        """Keys are hashed: tuples of tuples of the same tuple would take for ever."""
        if key == pickle.SETITEM:
            keys = self.stack[-2:-1]
        else:
            keys = self.stack[::2] if key in (pickle.SETITEMS, pickle.DICT) else self.stack
        for one in keys:
            if type(one) is tuple:
                _require_few_parts(one)

    # -- what is called and changed

    def load_reduce(self) -> None:
        """A call: of what was named alone, not of what the stream made itself."""
        arguments = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        """An instance without its constructor."""
        arguments = self.stack.pop()
        kind = self.stack.pop()
        if kind is _Wrapper:
            if arguments != ():
                raise _odd("uses the note before an array as no note")
            self._wrapper = _Wrapper()
            self.append(self._wrapper)
        else:
            self.append(self._called(kind, arguments))

    def load_newobj_ex(self) -> None:
        """The same with named arguments."""
        named = self.stack.pop()
        arguments = self.stack.pop()
        if named and self.stack[-1] in _STAND_INS.values():
            raise _odd("makes a type in an unusual way")
        self.stack[-1] = self._called(self.stack[-1], arguments)

    def _instantiate(self, klass: object, args: list[object]) -> None:
        """What the oldest pickles make instances with."""
        self.append(self._called(klass, tuple(args)))

    def _called(self, kind: object, arguments: object) -> object:
        if not (isinstance(kind, type) and issubclass(kind, Inert)):
            raise _odd("calls what it made itself")
        if kind is _Dtype:
            return _made_dtype(arguments)
        if kind is _Wrapper or (kind is _Type and not (isinstance(arguments, tuple) and len(arguments) == 1)):
            raise _odd("makes a type in an unusual way")
        if self._wrapper is not None:
            raise _odd("goes on before an array's note is whole")
        return Inert()

    def load_build(self) -> None:
        """A state: of an array's note it is followed by the array."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, _Wrapper):
            if target is not self._wrapper:
                raise _odd("uses the note before an array twice")
            self._wrapper = None
            self.stack[-1] = self._skip_array(state)
        elif isinstance(target, np.dtype):
            _require_plain(state)
            target.__setstate__(state)  # type: ignore[attr-defined]
        elif not isinstance(target, Inert):
            raise _odd("changes a class, or what has no state")

    def _skip_array(self, state: object) -> Inert:
        """Step over the array that a wrapper announces, or read the stream that stands for it."""
        if type(state) is not dict or not state.keys() <= _WRAPPED or "dtype" not in state:
            raise _odd("says of an array what it should not")
        shape: tuple[int, ...] = state.get("shape", ())
        dtype, align = state["dtype"], state.get("numpy_array_alignment_bytes")
        plain = type(shape) is tuple and all(type(one) is int and 0 <= one < _MOST for one in shape)
        known = state.get("order") in _ORDERS and isinstance(state.get("subclass"), type)
        if not (plain and known and isinstance(dtype, np.dtype) and (align is None or type(align) is int)):
            raise _odd("says of an array what it should not")
        if dtype.hasobject:
            self._read_nested()
            return Inert()
        if align is not None:
            self._file.read(int.from_bytes(self._file.read(1), "little"))
        left = prod(shape) * dtype.itemsize
        while left:
            chunk = self._file.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise EOFError
            left -= len(chunk)
        return Inert()

    def _read_nested(self) -> None:
        """An array of objects is a stream in the stream."""
        nested = InertReader(self._file, self._note)
        nested.load()
        frame = nested._unframer.current_frame
        if frame is not None and frame.read(1):
            # Python's reader in C goes back to where the stream ended, the one in Python does not.
            raise _odd("holds more than it says")

    def load_bytes(self, key: bytes) -> None:
        """Bytes, as the loader reads them; nothing here looks into long ones, and all of them may be the whole file."""
        pickle._Unpickler.dispatch[key[0]](self)  # type: ignore[arg-type]
        if len(self.stack[-1]) > _MOST_KEPT:  # type: ignore[arg-type]
            self.stack[-1] = _Numbers()

    dispatch |= {
        pickle.BINBYTES[0]: lambda reader: reader.load_bytes(pickle.BINBYTES),
        pickle.BINBYTES8[0]: lambda reader: reader.load_bytes(pickle.BINBYTES8),
        pickle.BYTEARRAY8[0]: lambda reader: reader.load_bytes(pickle.BYTEARRAY8),
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
    }


def _made_dtype(arguments: object) -> object:
    """A real dtype of texts and numbers, as pickles make them; of a class's stand-in nobody knows its size."""
    if not isinstance(arguments, tuple) or not 0 < len(arguments) <= 3:
        raise _odd("makes a dtype in an unusual way")
    _require_plain(arguments)
    return np.dtype(*arguments)


def _require_plain(value: object) -> None:
    """Refuse what is not made of texts, numbers and dtypes."""
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if type(one) is tuple or type(one) is list:
            waiting += one
        elif type(one) is dict:
            waiting += [*one.keys(), *one.values()]
        elif not (type(one) in _PLAIN or isinstance(one, np.dtype)):
            raise _odd("makes a dtype in an unusual way")
        if seen > MAX_KEY_PARTS * 10:
            raise _odd("makes a dtype of too many parts")


def _require_few_parts(key: tuple[object, ...]) -> None:
    waiting: list[object] = [key]
    seen = 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if type(one) is tuple or type(one) is frozenset:
            waiting += one
        if seen > MAX_KEY_PARTS:
            raise _odd("has a key of too many parts")


def _odd(what: str) -> Untrusted:
    return Untrusted(
        f"the pickle {what}, as no saved model does",
        "save the model again with joblib.dump, skops or ONNX",
        code="build.odd_pickle",
    )
