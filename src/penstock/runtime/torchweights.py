"""A person's own ``torch.nn.Module`` and its weights, inside the sandbox: class + state dict -> module -> `TorchModel`.

Comes in: a class and the folder of its files, one of which holds the weights: safetensors, or what ``torch.save`` wrote
of a state dict. Weights are numbers: nothing of their file is run.
"""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

from penstock.errors import BadConfig, ModelFailed, Untrusted
from penstock.runtime.safetensors import read_tensors
from penstock.runtime.torchmodel import TorchModel, library, of_module

SUFFIXES = (".pt", ".pth", ".bin")
_BASE = ("torch.nn.modules.module", "Module")
_INSIDE = ("state_dict", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def is_module(kind: object) -> bool:
    """Whether a class is a module of PyTorch's; PyTorch is not imported to find out."""
    return inspect.isclass(kind) and any((one.__module__, one.__name__) == _BASE for one in kind.__mro__)


def open_module(kind: type, folder: Path) -> TorchModel:
    """Make a module and give it its weights.

    Args:
        kind: A ``torch.nn.Module``; made with nothing, or with its folder, from which it then loads what it needs.
        folder: Of its files.

    Raises:
        BadConfig: It needs other arguments, or there is no file of weights, or more than one.
        ModelFailed: The weights are another module's.
    """
    torch = library()
    parameters = inspect.signature(kind).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in (2, 4)]
    if set(needed) - {"folder"}:
        raise BadConfig(
            f"{kind.__name__} needs the arguments {', '.join(needed[:8])}",
            "give them defaults, or subclass it in model.py: the class is made with its folder, or with nothing",
            code="build.no_class",
        )
    by_itself = any(one.name == "folder" for one in parameters)
    module: Any = kind(folder=folder) if by_itself else kind()
    if callable(getattr(module, "load", None)):
        module.load(folder)
    elif not by_itself:
        _fill(torch, module, weights_file(folder))
    return of_module(torch, module.cpu().eval().requires_grad_(False))


def weights_file(folder: Path) -> Path:
    """The one file of weights in a folder.

    Raises:
        BadConfig: There is none, or more than one.
    """
    found = sorted(folder.rglob("*.safetensors")) or sorted(
        path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file()
    )
    if len(found) != 1:
        raise BadConfig(
            f"the folder has {len(found)} files of weights",
            "put one beside model.py: weights.safetensors, or torch.save(model.state_dict(), 'weights.pt')",
            code="build.no_weights",
        )
    return found[0]


def _fill(torch: Any, module: Any, file: Path) -> None:
    """Load the weights, every one of them."""
    if file.suffix == ".safetensors":
        # The reader's arrays lie in the file's bytes, which cannot be written.
        state = {name: torch.from_numpy(one.copy()) for name, one in read_tensors(file.read_bytes()).items()}
    else:
        with file.open("rb") as start:
            if start.read(4) != b"PK\x03\x04":
                raise BadConfig(
                    "the weights are a file of PyTorch's old kind",
                    "load them where you trust them, and save them anew: torch.save(model.state_dict(), 'weights.pt')",
                    code="build.legacy_torch",
                )
        state = _read(torch, file)
        if isinstance(state, dict):  # of a trainer, beside what it goes on with
            state = next((state[name] for name in _INSIDE if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(one, torch.Tensor) for one in state.values()):
        raise BadConfig("the file of weights holds no state dict", "save model.state_dict()", code="build.no_weights")
    known = module.state_dict().keys()
    for prefix in _PREFIXES:
        if state and not known & state.keys() and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): one for name, one in state.items()}
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelFailed(
            f"the weights are not those of {type(module).__name__}: {' '.join(lines[1:3])[:300]}",
            "save model.state_dict() of this very class",
            code="build.other_weights",
        ) from error


def _read(torch: Any, file: Path) -> Any:
    """What a file of weights holds: numbers, nothing else is loaded."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Untrusted(
            "the file of weights is more than weights: loading it would run code",
            "save them alone: torch.save(model.state_dict(), 'weights.pt')",
            where=file.name,
            code="build.pickled_module",
        ) from error
