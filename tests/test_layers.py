"""Who may import whom: the picture in docs/architecture.md, held."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "penstock"

# The highest first; parts on one line never import each other.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"commands", "notebook", "integrations"},
    {"demo"},
    {"control"},
    {"api", "console"},
    {"web"},
    {"app"},
    {"build", "gate", "release", "serve", "score", "observe", "feedback", "pipelines", "tuning", "conformance"},
    {"registry", "log"},
    {"runtime"},
    {"packages"},
    {"access"},
    {"statistics"},
    {"adapters", "config", "pages"},
    {"records", "yamlfile"},
    {"tensors"},
    {"errors"},
]
RANK = {name: index for index, names in enumerate(LAYERS) for name in names}
LIGHT = ("pandas", "scipy", "sqlalchemy", "fastapi", "pydantic", "typer", "rich", "sklearn", "pyarrow", "onnx", "yaml")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] == "penstock"}


def part(name: str) -> str:
    """``penstock.serve.flow`` -> ``serve``."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_point_downward(path: Path) -> None:
    here = part(dotted(path))
    if here == "__init__":
        return
    assert here in RANK, f"{here} has no layer: give it one in this file and in docs/architecture.md"
    for name in imported(ast.parse(path.read_text())):
        there = part(name)
        if there in (here, "__version__"):
            continue
        assert RANK[there] > RANK[here], f"{dotted(path)} may not import {name}"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_no_import_hides_in_a_function(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{dotted(path)}:{node.name} imports inside a function"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_only_the_table_imports_adapters(path: Path) -> None:
    """An implementation is reached through ``adapters.load`` alone, or by its own folder."""
    plural = {
        "formats",
        "engines",
        "checks",
        "stores",
        "strategies",
        "targets",
        "protocols",
        "detectors",
        "functions",
        "exports",
        "transports",
    }
    for name in imported(ast.parse(path.read_text())):
        kinds = plural & set(name.split("."))
        if kinds:
            assert kinds & set(dotted(path).split(".")), f"{dotted(path)} imports the adapter {name} by its place"


def test_the_data_plane_starts_light() -> None:
    code = "import sys, penstock.serve.worker, penstock.serve.supervisor; print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "penstock.serve.worker" in out
    heavy = {name for name in out if name.partition(".")[0] in LIGHT}
    assert not heavy, f"penstock.serve loads {sorted(heavy)}"
    assert not [name for name in out if name.startswith("penstock.registry")]
