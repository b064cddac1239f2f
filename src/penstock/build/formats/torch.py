"""PyTorch's files: exported programs (``torch.export.save``) and TorchScript (``torch.jit.save``).

Both say by themselves what is computed, and compile. Tensors alone, pickled modules and the files that PyTorch wrote
before it had zips are known too, and refused with what to do instead. PyTorch is imported only to open one.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from penstock.build.format import Audit, Original, head
from penstock.build.torch.archive import TorchArchive, listed, read_archive
from penstock.build.torch.model import TorchOriginal
from penstock.build.torch.pickles import audit_tensor_archive
from penstock.build.torch.programs import audit_program
from penstock.build.torch.programs import wanted as of_a_program
from penstock.build.torch.scripts import audit_script
from penstock.build.torch.scripts import wanted as of_a_script
from penstock.errors import Untrusted
from penstock.runtime.original import load_original
from penstock.runtime.torchmodel import TorchModel
from penstock.runtime.torchprogram import writes

PROGRAM = ".pt2"
SCRIPT = ".pt"
TENSORS = ".pth"
"""No package has a file of these: the audit refuses them."""

_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_EXPORT = "torch.export.save(torch.export.export(model.eval(), (rows,), dynamic_shapes=...), 'model.pt2')"


class TorchFormat:
    """What `torch.export.save` and `torch.jit.save` wrote."""

    suffixes = (PROGRAM, SCRIPT, TENSORS)

    def sniff(self, path: Path) -> str:
        """A zip with a program, with a script's code, or with tensors; and the pickles of before 2020."""
        start = head(path)
        if start.startswith(_LEGACY) or (start[257:262] == b"ustar" and _is_old_tar(path)):
            return TENSORS
        if not start.startswith(b"PK\x03\x04"):
            return ""
        names = listed(path)
        if any(name.startswith("models/") and name.endswith(".json") for name in names) and "archive_format" in names:
            return PROGRAM
        if "serialized_exported_program.json" in names:
            return PROGRAM
        if "constants.pkl" in names and any(name.startswith("code/") for name in names):
            return SCRIPT
        return TENSORS if {"data.pkl", "version"} <= names else ""

    def audit(self, path: Path) -> Audit:
        """Every operator, size and name that would be looked up, and every member.

        Raises:
            Untrusted: It holds no program, or what no such file holds.
        """
        kind = self.sniff(path)
        if kind == TENSORS:
            raise _refusal(path)
        archive = _read(path, of_a_program if kind == PROGRAM else of_a_script)
        if kind == SCRIPT:
            refused = audit_script(archive)
        else:
            refused = audit_program(archive, lambda name: _read(path, lambda one: one == name).contents[name])
        return Audit(names=("torch", *sorted(refused)), refused=tuple(sorted(refused)))

    def open(self, path: Path) -> Original:
        """The program or the script."""
        named = path if path.suffix in self.suffixes[:2] else _linked(path, self.sniff(path))
        model = load_original(named, "torch")
        assert isinstance(model, TorchModel)
        kept = model.program is None or writes(model.program)
        return TorchOriginal(model, *(() if kept else (path,)))


def _linked(path: Path, suffix: str) -> Path:
    """The file under a name that tells its kind; weights are not copied."""
    place = Path.cwd() / f"model{suffix}"
    place.unlink(missing_ok=True)
    place.symlink_to(path)
    return place


def _read(path: Path, keep: object) -> TorchArchive:
    assert callable(keep)
    with path.open("rb") as file:
        return read_archive(file, path.stat().st_size, keep)


def _is_old_tar(path: Path) -> bool:
    """What PyTorch wrote first: a tar of pickles."""
    try:
        with tarfile.open(path, "r:") as archive:
            return {"storages", "tensors", "pickle"} <= {one.name for one in archive}
    except (tarfile.TarError, OSError):
        return False


def _refusal(path: Path) -> Untrusted:
    """Why a file that `torch.save` wrote is no model, and what to do."""
    if not head(path).startswith(b"PK\x03\x04"):
        return Untrusted(
            "the file is of PyTorch's old kind: pickles behind pickles, which cannot be audited",
            f"load it where you trust it, and save it anew: {_EXPORT}",
            code="build.legacy_torch",
        )
    strange = audit_tensor_archive(_read(path, lambda name: name == "data.pkl"))
    if not strange:
        return Untrusted(
            "the file holds weights and nothing that computes with them",
            "package a folder with model.py, which has the torch.nn.Module, and this file; or export the model: "
            + _EXPORT,
            code="build.only_weights",
        )
    return Untrusted(
        f"the file is a pickled module: loading it would run {', '.join(sorted(strange)[:5])}",
        f"export it: {_EXPORT}; or package its class with its state_dict",
        code="build.pickled_module",
    )
