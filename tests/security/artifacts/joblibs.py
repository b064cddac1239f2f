"""joblib's files: bytes of arrays between a pickle's opcodes, and everything that holds pickles."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator

from tests.security.artifacts.artifact import Artifact, Target, several
from tests.security.artifacts.opcodes import STOP, Raw, call, fitted, name_global, pickled, stack_global, value_of
from tests.security.artifacts.zips import zipped


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    yield from several("joblib", wrappers)
    yield from several("joblib", carriers)


def wrappers(target: Target) -> Iterator[tuple[str, bytes]]:
    """Joblib's arrays: bytes of theirs stand between the opcodes, and say themselves how many they are."""
    evil = call("os", "system", target.shell)
    none = Raw(call("builtins", "type", None) + b")R")
    note = name_global("joblib.numpy_pickle", "NumpyArrayWrapper")
    dtype = Raw(call("numpy", "dtype", "u1", False, True) + value_of((3, "|", None, None, None, -1, -1, 0)) + b"b")
    state = {
        "subclass": Raw(name_global("numpy", "ndarray")),
        "shape": (4,),
        "order": "C",
        "dtype": dtype,
        "allow_mmap": False,
    }

    def array(raw: bytes, **more: object) -> bytes:
        return note + b")\x81" + value_of(state | more) + b"b" + raw

    hidden = evil + STOP
    yield (
        "an alignment that only the loader knows is none",
        pickled(
            array(bytes([len(hidden)]) + hidden + b"abcd", numpy_array_alignment_bytes=none, shape=(0,))
            + b"0"
            + fitted()
        ),
    )
    yield (
        "a dtype of a class",
        pickled(
            array(
                b"N." + b"\0" * 6 + evil,
                dtype=Raw(call("numpy", "dtype", Raw(name_global("numpy", "float64")))),
                shape=(1,),
            )
            + b"0"
            + fitted()
        ),
    )
    yield (
        "a dtype of a partial",
        pickled(
            array(b"abcd", dtype=Raw(call("functools", "partial", Raw(name_global("numpy", "dtype")), "u1") + b")R"))
            + b"0"
            + fitted()
        ),
    )
    yield (
        "a note made by a reconstructor",
        pickled(
            call("copyreg", "_reconstructor", Raw(note), Raw(name_global("builtins", "object")), None)
            + value_of(state | {"shape": (1,)})
            + b"b"
            + STOP
            + evil
            + b"0"
            + fitted()
        ),
    )
    yield (
        "a note made by a partial",
        pickled(
            call("functools", "partial", Raw(note))
            + value_of((Raw(name_global("numpy", "ndarray")), (1,), "C", dtype))
            + b"R"
            + value_of({})
            + b"b"
            + STOP
            + evil
            + b"0"
            + fitted()
        ),
    )
    yield (
        "a note of a class of its own",
        pickled(
            call("builtins", "type", "Note", (Raw(note),), {})
            + b")\x81"
            + value_of(state | {"shape": (1,)})
            + b"b"
            + STOP
            + evil
            + b"0"
            + fitted()
        ),
    )
    yield (
        "a note that reads itself otherwise",
        pickled(array(b"abcd", read=Raw(name_global("builtins", "dict"))) + b"0" + fitted()),
    )
    yield (
        "a note used twice",
        pickled(
            note
            + b")\x81q\x05"
            + value_of(state)
            + b"babcd0h\x05"
            + value_of({"shape": (1,)})
            + b"b"
            + STOP
            + evil
            + b"0"
            + fitted()
        ),
    )
    shared = value_of(state) + b"q\x07" + b"0" + call("functools", "partial", Raw(name_global("builtins", "int")))
    shared += value_of((Raw(name_global("builtins", "int")), (), {}, Raw(b"h\x07"))) + b"b"
    shared += b"N" + value_of({"shape": (0,)}) + b"\x86b0"
    yield (
        "a state that something else changes",
        pickled(shared + note + b")\x81h\x07b" + STOP + evil + b"0" + fitted()),
    )
    yield (
        "a class of notes that is changed",
        pickled(
            note
            + b"N"
            + value_of({"read": Raw(name_global("builtins", "dict"))})
            + b"\x86b0"
            + array(b"")
            + b"0"
            + fitted()
        ),
    )
    yield (
        "objects in an array",
        pickled(array(pickled(evil), dtype=Raw(call("numpy", "dtype", "O8", False, True))) + b"0" + fitted()),
    )
    yield (
        "objects in an array, framed past their end",
        pickled(
            array(
                b"\x80\x04\x95" + (len(evil) + 2).to_bytes(8, "little") + b"N." + evil,
                dtype=Raw(call("numpy", "dtype", "O8", False, True)),
            )
            + b"0"
            + fitted()
        ),
    )
    yield "an array of 2**62 numbers", pickled(array(b"", shape=(1 << 30, 1 << 30)) + b"0" + fitted())
    yield "an array of fewer than no numbers", pickled(array(b"abcd", shape=(-4,)) + b"0" + fitted())
    yield "an array of a hundred dimensions", pickled(array(b"a", shape=(1,) * 100) + b"0" + fitted())
    yield "an array whose shape is a call", pickled(array(b"abcd", shape=(Raw(evil),)) + b"0" + fitted())
    yield (
        "an array of a class",
        pickled(array(b"abcd", subclass=Raw(stack_global("os", "system"))) + b"0" + fitted()),
    )
    yield "an array that says nothing", pickled(note + b")\x81" + value_of({}) + b"babcd0N")


def carriers(target: Target) -> Iterator[tuple[str, bytes]]:
    """The same call inside of everything that holds pickles."""
    for gadget, arguments in (
        ("os.system", target.shell),
        ("builtins.exec", target.source),
        ("pickle.loads", pickled(call("os", "system", target.shell))),
    ):
        module, _, name = gadget.rpartition(".")
        data = pickled(call(module, name, arguments) + b"0" + fitted())
        for squeeze in (zlib.compress, gzip.compress, bz2.compress, lzma.compress):
            yield f"{gadget} in {squeeze.__module__}", squeeze(data)
        yield f"{gadget} in lzma alone", lzma.compress(data, lzma.FORMAT_ALONE)
        yield f"{gadget} in zlib in zlib", zlib.compress(zlib.compress(data))
        yield f"{gadget} in half a gzip", gzip.compress(data)[:-9]
        yield f"{gadget} in two gzips", gzip.compress(pickled(fitted())) + gzip.compress(data)
        yield f"{gadget} in gzip of another sum", gzip.compress(data)[:-8] + b"\0" * 8
        yield f"{gadget} in an array of objects", npy(data)
        yield f"{gadget} in an npz", zipped({"a.npy": npy(data)})
        yield f"{gadget} in Python 2's joblib", b"ZF0x" + hex(len(data))[2:].ljust(17).encode() + zlib.compress(data)
    yield "a bomb of zeros in gzip", gzip.compress(b"\x80\x04B\xff\xff\xff\x7f" + bytes(64 << 20))
    yield "a bomb of a bomb", zlib.compress(b"\x80\x04C\x01x0" * 4_000_000)


def npy(data: bytes) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (53 - len(head) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data
