"""A loaded original, asked by the build from outside of its environment: what it says of itself, then its answers.

    task (JSON) -> load -> "I am a classifier of these columns" -> (specs, frame) -> frame -> ... until the socket ends

It runs in the model's own environment, behind the walls, so it needs numpy, msgspec and what the model's kind needs.
The other end is `penstock.build.elsewhere`.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import msgspec
import numpy as np

from penstock.errors import BadConfig, PenstockError
from penstock.packages.archive import unpack
from penstock.runtime.columns import feature_names, width_of
from penstock.runtime.confined import receive, send
from penstock.runtime.frames import Header, Inbox, buffers
from penstock.runtime.orders import Orders
from penstock.runtime.original import answer, is_classifier, load_original
from penstock.runtime.torchmodel import TorchModel
from penstock.tensors import Arrays, TensorSpec

LACKS = "build.lock_lacks"
"""Code of the refusal of a model whose lock has not all that it imports."""


class Interviewee(msgspec.Struct, frozen=True, kw_only=True):
    """What to load.

    Attributes:
        path: The model's file, or the archive of its files.
        kind: A name of the adapters' ``format`` table.
        suffix: The file's; of one in an archive it begins with "/".
    """

    path: str
    kind: str
    suffix: str


class SelfPortrait(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says of itself, or why it cannot be loaded.

    Attributes:
        columns: That it reads, by name; empty for a plain matrix.
        width: How many columns it takes; 0 where it does not say.
        classes: Labels in the order of the probabilities; None where it does not name them.
        own: It is a person's class, or MLflow's loader's; else a scikit-learn style estimator.
        by_column: It takes a DataFrame.
        needs: Names of the inputs that a module of PyTorch's has to be given; empty for all others.
        takes: Names of those that it may be given.
        wide: It computes in doubles.
        refused: Name of Penstock's error; empty where it is loaded.
        failed: Name of another exception.
        message: Its text.
        hint: What to do about it.
        code: Its stable name.
    """

    columns: tuple[str, ...] = ()
    width: int = 0
    classes: tuple[str | int | bool, ...] | None = None
    own: bool = False
    by_column: bool = False
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    wide: bool = False
    refused: str = ""
    failed: str = ""
    message: str = ""
    hint: str = ""
    code: str = ""


def interview(arguments: object, scratch: str, descriptor: int, orders: Orders | None) -> None:
    """The sandbox's entry; see `penstock.runtime.sandbox.start_worker`."""
    del orders
    task = msgspec.convert(arguments, Interviewee)
    try:
        model = load_original(_file(task, Path(scratch)), task.kind)
        portrait = _portrait(model)
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        portrait = _refusal(lacking(error))
    except PenstockError as error:
        missing = error.__cause__
        portrait = _refusal(lacking(missing) if isinstance(missing, ModuleNotFoundError) else error)
    except Exception as error:
        sys.excepthook(*sys.exc_info())
        portrait = SelfPortrait(failed=type(error).__name__, message=str(error)[:2000])
    send(descriptor, msgspec.json.encode(portrait))
    if not (portrait.refused or portrait.failed):
        _answer_all(model, descriptor)


def lacking(error: ModuleNotFoundError) -> BadConfig:
    """The refusal of a model whose environment has not what it imports."""
    return BadConfig(
        f"the model imports {error.name}, which its lock does not have",
        "add the distribution that has it to the requirements, and package the model again",
        code=LACKS,
    )


def _file(task: Interviewee, scratch: Path) -> Path:
    """The file under a name that its loader goes by."""
    if task.suffix.startswith("/"):
        return unpack(Path(task.path), scratch / "original") / task.suffix.removeprefix("/")
    named = scratch / f"model{task.suffix}"
    named.symlink_to(task.path)
    return named


def _portrait(model: object) -> SelfPortrait:
    """What it says of itself."""
    own = hasattr(model, "answer_table")
    known = np.asarray(getattr(model, "classes_", ()))
    if known.dtype.kind == "f" and bool(np.all(known == np.round(known))):
        known = known.astype(np.int64)
    labels = tuple(one if isinstance(one, str | int | bool) else str(one) for one in known.tolist())
    said = hasattr(model, "classes_") if own else is_classifier(model)
    return SelfPortrait(
        columns=tuple(getattr(model, "feature_names_in_", ())) if own else feature_names(model),
        width=0 if own else width_of(model),
        classes=labels if said else None,
        own=own,
        by_column=bool(getattr(model, "by_column", False)),
        needs=model.needs if isinstance(model, TorchModel) else (),
        takes=model.takes if isinstance(model, TorchModel) else (),
        wide=isinstance(model, TorchModel) and model.wide,
    )


def _refusal(error: PenstockError) -> SelfPortrait:
    kind, message = type(error).__name__, error.message
    return SelfPortrait(refused=kind, message=message, hint=error.hint, code=error.code)


def _answer_all(model: object, descriptor: int) -> None:
    """One question after the other."""
    channel = socket.socket(fileno=descriptor)
    inbox = Inbox()
    while True:
        try:
            specs = msgspec.json.decode(receive(descriptor), type=tuple[TensorSpec, ...])
            while (frame := inbox.receive(channel)) is None:
                pass
        except EOFError:
            return
        for piece in buffers(*_answer(model, specs, frame[1])):
            channel.sendall(piece)


def _answer(model: object, specs: tuple[TensorSpec, ...], arrays: Arrays) -> tuple[Header, Arrays]:
    """The answers, or how it failed."""
    try:
        return Header(), answer(model, specs, arrays)
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        return Header(refused=BadConfig.__name__, message=lacking(error).message), {}
    except PenstockError as error:
        return Header(refused=type(error).__name__, message=error.message), {}
    except Exception as error:
        return Header(failed=type(error).__name__, message=str(error)[:2000]), {}
