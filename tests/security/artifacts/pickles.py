"""Pickles: every way to write one call, and streams that two readers understand otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from tests.security.artifacts.artifact import Artifact, Target, several
from tests.security.artifacts.opcodes import (
    PROTO4,
    STOP,
    Raw,
    call,
    estimator,
    fitted,
    framed,
    memo_global,
    name_global,
    old_call,
    pickled,
    stack_global,
    text,
    value_of,
)
from tests.security.artifacts.zips import zipped


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    yield from several("pickle", ways)
    yield from several("pickle", disagreements)


def ways(target: Target) -> Iterator[tuple[str, bytes]]:
    """Every way to write the same call of ``os.system``."""
    shell = target.shell
    yield "protocol 0", old_call("os", "system", shell) + STOP
    yield "protocol 1", name_global("os", "system") + b"(" + text(shell) + b"tR" + STOP
    for protocol in (2, 3, 4, 5):
        yield f"protocol {protocol}", pickled(call("os", "system", shell, look_up=name_global), protocol)
    yield "protocol 0 with INST", b"(S" + repr(shell).encode() + b"\nios\nsystem\n" + STOP
    yield "OBJ", pickled(b"(" + name_global("os", "system") + text(shell) + b"o", 2)
    yield "NEWOBJ", pickled(stack_global("subprocess", "Popen") + value_of((["/bin/sh", "-c", shell],)) + b"\x81")
    newobj = stack_global("subprocess", "Popen") + value_of(()) + value_of({"args": ["/bin/sh", "-c", shell]}) + b"\x92"
    yield "NEWOBJ_EX", pickled(newobj)
    yield "STACK_GLOBAL from the memo", pickled(memo_global("os", "system") + value_of((shell,)) + b"R")
    yield (
        "texts of MEMOIZE",
        pickled(b"\x8c\x02os\x94\x8c\x06system\x94\x930h\x00h\x01\x93" + value_of((shell,)) + b"R"),
    )
    yield "in frames", PROTO4 + framed(call("os", "system", shell)) + STOP
    yield (
        "a frame for each opcode",
        PROTO4 + b"".join(map(framed, (text("os"), text("system"), b"\x93", value_of((shell,)), b"R"))) + STOP,
    )
    body = call("os", "system", shell)
    yield "popped afterwards", pickled(body + b"0" + fitted())
    yield "behind a mark that is popped", pickled(b"(" + body + b"1" + fitted())
    yield "as a key", pickled(b"}" + body + b"K\x01s")
    yield "as an item of a set", pickled(b"\x8f(" + body + b"\x90")
    yield "as a state", pickled(name_global("sklearn.linear_model", "LogisticRegression") + b")\x81" + body + b"b")
    yield "as an attribute", pickled(estimator({"coef_": Raw(body)}))
    yield "in 100 tuples", pickled(body + b"\x85" * 100)
    yield "extension code 1", pickled(b"\x82\x01" + value_of((shell,)) + b"R")
    yield "extension code 2", pickled(b"\x83\x01\x00" + value_of((shell,)) + b"R")
    yield "extension code 4", pickled(b"\x84\x01\x00\x00\x00" + value_of((shell,)) + b"R")
    yield (
        "registers an extension first",
        pickled(call("copyreg", "add_extension", "os", "system", 77) + b"0" + b"\x82\x4d" + value_of((shell,)) + b"R"),
    )
    yield "persistent id", pickled(text(shell) + b"Q")
    yield "persistent id of protocol 0", b"cos\nsystem\nP" + shell.encode() + b"\n" + STOP
    yield (
        "getattr of a module",
        pickled(
            call("builtins", "getattr", Raw(call("builtins", "__import__", "os")), "system") + value_of((shell,)) + b"R"
        ),
    )
    yield (
        "methodcaller on a module",
        pickled(
            call("operator", "methodcaller", "system", shell)
            + value_of((Raw(call("builtins", "__import__", "os")),))
            + b"R"
        ),
    )
    yield (
        "attrgetter on a module",
        pickled(
            call("operator", "attrgetter", "system")
            + value_of((Raw(call("importlib", "import_module", "os")),))
            + b"R"
            + value_of((shell,))
            + b"R"
        ),
    )
    yield (
        "partial that is called",
        pickled(call("functools", "partial", Raw(stack_global("os", "system")), shell) + b")R"),
    )
    yield (
        "partial with another state",
        pickled(
            call("functools", "partial", Raw(stack_global("builtins", "int")))
            + value_of((Raw(stack_global("os", "system")), (shell,), {}, None))
            + b"b)R"
        ),
    )
    yield (
        "reduce over callables",
        pickled(
            call(
                "functools",
                "reduce",
                Raw(stack_global("builtins", "getattr")),
                (Raw(call("builtins", "__import__", "os")), "system"),
            )
            + value_of((shell,))
            + b"R"
        ),
    )
    yield "an attribute of a known module's module", pickled(call("xgboost.core", "ctypes.CDLL", target.marker))
    yield "an attribute of an attribute", pickled(call("sklearn.base", "warnings.sys.modules", shell))
    yield "a method of a known class", pickled(call("lightgbm.basic", "Booster.save_model", target.marker))
    yield "os behind numpy", pickled(call("numpy", "os.system", shell))
    yield "os behind numpy's dtypes", pickled(call("numpy.dtypes", "os.system", shell))
    yield "a module of a known library's tests", pickled(call("sklearn.utils.tests.test_tags", "MyEstimator", shell))
    yield "a name in another alphabet", pickled(call("оs", "system", shell))
    yield "a name with a zero", pickled(call("os\0", "system", shell))
    yield "a name with a line end", pickled(call("os\n", "system", shell))
    yield "a name with spaces", pickled(call(" os", "system ", shell))
    yield "a name that cleans the screen", pickled(call("\x1b[2J\x1b[31mos", "system\x07", shell))
    yield "a name of half a character", pickled(call("os\ud800", "system", shell))
    yield "a very long name", pickled(call("o" * 50_000, "s" * 50_000, shell))
    yield "an empty name", pickled(call("", "", shell))
    yield "a name of dots", pickled(call("..os", ".system", shell))
    yield "a name of a folder", pickled(call("sklearn./../../os", "System", shell))
    yield "Python 2's name of it", pickled(call("__builtin__", "eval", target.expression, look_up=name_global), 2)
    yield "Python 2's module of it", pickled(call("commands", "getoutput", shell, look_up=name_global), 2)
    yield (
        "a class made of it",
        pickled(
            call(
                "builtins",
                "type",
                "Harm",
                (Raw(stack_global("builtins", "object")),),
                {"__reduce__": Raw(stack_global("os", "system"))},
            )
        ),
    )
    yield (
        "a class made of harmless names",
        pickled(
            call(
                "builtins",
                "type",
                "Harm",
                (Raw(name_global("sklearn.linear_model", "LogisticRegression")),),
                {"predict": Raw(name_global("builtins", "dict"))},
            )
        ),
    )
    yield (
        "a class that is changed",
        pickled(
            name_global("sklearn.linear_model", "LogisticRegression")
            + b"N"
            + value_of({"predict": Raw(name_global("builtins", "dict"))})
            + b"\x86b0"
            + fitted()
        ),
    )
    yield (
        "a reconstructor of it",
        pickled(
            call(
                "copyreg",
                "_reconstructor",
                Raw(stack_global("subprocess", "Popen")),
                Raw(stack_global("builtins", "object")),
                None,
            )
        ),
    )
    yield (
        "a generator's constructor",
        pickled(call("numpy.random._pickle", "__randomstate_ctor", shell, Raw(stack_global("os", "system")))),
    )
    yield "a counter's factory", pickled(call("collections", "defaultdict", Raw(stack_global("os", "system"))))
    nested = pickled(call("os", "system", shell) + b"0" + fitted())
    yield "a pickle in a pickle", pickled(call("pickle", "loads", nested))
    yield "a pickle in a pickle in a pickle", pickled(call("pickle", "loads", pickled(call("pickle", "loads", nested))))
    yield (
        "a function transformer of it",
        pickled(
            name_global("sklearn.preprocessing", "FunctionTransformer")
            + b")\x81"
            + value_of({"func": Raw(stack_global("os", "system"))})
            + b"b"
        ),
    )
    yield (
        "a function transformer of a partial of it",
        pickled(
            name_global("sklearn.preprocessing", "FunctionTransformer")
            + b")\x81"
            + value_of({"func": Raw(call("functools", "partial", Raw(stack_global("os", "system")), shell))})
            + b"b"
        ),
    )
    yield (
        "a pipeline with it",
        pickled(
            name_global("sklearn.pipeline", "Pipeline")
            + b")\x81"
            + value_of({"steps": [("a", Raw(stack_global("subprocess", "Popen"))), ("b", Raw(fitted()))]})
            + b"b"
        ),
    )
    yield (
        "a kernel of it",
        pickled(
            name_global("sklearn.svm", "SVC")
            + b")\x81"
            + value_of({"kernel": Raw(stack_global("os", "system"))})
            + b"b"
        ),
    )
    yield (
        "a search that keeps it",
        pickled(
            name_global("sklearn.model_selection", "GridSearchCV")
            + b")\x81"
            + value_of({"scoring": Raw(stack_global("os", "system")), "best_estimator_": Raw(fitted())})
            + b"b"
        ),
    )
    yield (
        "an objective of it",
        pickled(
            name_global("lightgbm.sklearn", "LGBMClassifier")
            + b")\x81"
            + value_of({"objective": Raw(stack_global("os", "system"))})
            + b"b"
        ),
    )


def disagreements(target: Target) -> Iterator[tuple[str, bytes]]:
    """Streams that two readers understand otherwise."""
    evil = call("os", "system", target.shell)
    good = pickled(fitted())
    yield "two streams", good + pickled(evil)
    yield "a hundred streams", good * 100 + pickled(evil)
    yield "a stream behind zeros", good + bytes(4096) + pickled(evil)
    yield "text behind the end", good + b"more"
    yield "a zip behind the end", good + zipped({"data.pkl": pickled(evil)})
    for cut in (1, 3, 10, 25):
        yield f"cut {cut} bytes before the end", pickled(evil)[:-cut]
    yield "a frame over the end", b"\x80\x04\x95" + (len(evil) + 50).to_bytes(8, "little") + evil + STOP + b"x" * 49
    yield "a frame that is too long", b"\x80\x04\x95" + (1 << 62).to_bytes(8, "little") + evil + STOP
    yield "a frame in a frame", b"\x80\x04" + framed(framed(evil)) + STOP
    yield "protocol 255", b"\x80\xff" + evil + STOP
    yield "protocol 5 in the middle of 2", b"\x80\x02\x80\x05" + evil + STOP
    yield "a text that says it is 4 GiB", pickled(b"X\xff\xff\xff\xff" + b"x")
    yield "bytes that say they are 2**63", pickled(b"\x8e" + b"\xff" * 7 + b"\x7f" + b"x")
    yield "a number of a gigabyte", pickled(b"\x8b\x00\x00\x00\x40" + b"1")
    yield "a memo index of four billion", pickled(b"Nr\xff\xff\xff\xff" + evil)
    yield "a key that takes for ever", pickled(b"\x8f(" + b")" + b"q\x01h\x01\x86" * 40 + b"\x90")
    yield "a million marks", pickled(b"(" * 1_000_000)
    yield "a tuple a hundred thousand deep", pickled(b")" + b"\x85" * 100_000 + b"0" + evil)
    yield "out-of-band buffers", pickled(b"\x97" + evil, 5)
