"""Every export writes what its platform can read, names the one package, and pins all that it needs."""

from __future__ import annotations

import ast
import json
import re

import pytest
import yaml
from packaging.requirements import Requirement

from penstock.adapters import TABLE, load
from penstock.release.export import ExportSource, PackageExport, slug

DIGEST = "sha256:" + "ab" * 32
SOURCE = ExportSource(
    model="churn_ü 7",
    version=3,
    digest=DIGEST,
    requirements=("penstock==0.1.0", "numpy==2.0.0"),
    documents={"2": '{"swagger": "2.0"}', "3": '{"openapi": "3.0.3"}'},
)
INSTRUCTIONS = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD", "USER", "EXPOSE", "ARG", "LABEL"}


@pytest.fixture(params=sorted(TABLE["export"]))
def exporter(request: pytest.FixtureRequest) -> PackageExport:
    return load("export", request.param)()


def test_every_file_can_be_read(exporter: PackageExport) -> None:
    for name, text in exporter.files(SOURCE).items():
        assert text.endswith("\n") or name.endswith(".json"), name
        if name.endswith(".py"):
            assert ast.get_docstring(ast.parse(text)), name
        elif name.endswith((".yml", ".yaml")):
            assert isinstance(yaml.safe_load(text), dict), name
        elif name.endswith(".json"):
            json.loads(text)
        elif name.endswith("requirements.txt"):
            lines = [Requirement(line) for line in text.splitlines()]
            assert {"penstock", "numpy"} <= {one.name for one in lines}
            assert all(one.specifier for one in lines)


def test_the_code_names_the_package_and_its_version(exporter: PackageExport) -> None:
    files = exporter.files(SOURCE)
    code = "".join(text for name, text in files.items() if name.endswith(".py"))
    assert f'digest="{DIGEST}", version=3' in code
    assert DIGEST in files["README.md"]
    assert "```\n" in files["README.md"]


def test_the_same_source_gives_the_same_files(exporter: PackageExport) -> None:
    assert exporter.files(SOURCE) == exporter.files(SOURCE)


def dockerfile(text: str) -> list[tuple[str, str]]:
    """Instructions with their words, lines that end in a backslash joined; raises where one is none."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            word, _, rest = line.partition(" ")
            assert word in INSTRUCTIONS, f"{word} is no instruction"
            assert rest.strip(), f"{word} says nothing"
            if rest.lstrip().startswith("["):
                assert all(isinstance(one, str) for one in json.loads(rest)), "the exec form is a list of texts"
            found.append((word, rest))
    return found


def test_the_dockerfile_has_the_form_of_one_and_nobody_has_built_it() -> None:
    files = load("export", "lambda")().files(SOURCE)
    found = dockerfile(files["Dockerfile"])
    assert found[0][0] == "FROM"
    assert dict(found)["ENTRYPOINT"] == '["python", "-m", "awslambdaric"]'
    assert dict(found)["CMD"] == '["lambda_function.handler"]'
    assert "It has not been built." in files["README.md"]
    with pytest.raises(AssertionError):
        dockerfile("FROM python\nRUNS pip")


@pytest.mark.parametrize(
    ("name", "made"),
    [("churn", "churn"), ("m", "m-model"), ("7 days", "model-7-days"), ("ü", "model"), ("a_b.c", "a-b-c"),
     ("x" * 40, "x" * 32), ("--", "model")],
)  # fmt: skip
def test_names_are_as_platforms_take_them(name: str, made: str) -> None:
    assert slug(name, 32) == made
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]", slug(name, 32))
