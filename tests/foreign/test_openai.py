"""OpenAI's client, unmodified: embeddings both ways, models, and its own exceptions for what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import DataPlane, route
from packages_for_tests import words_answers, words_package
from penstock.records import Grant

CLIENT = Path(__file__).parent / "openai_client.py"
PYTHON = Path(__file__).parents[2] / ".venv" / "openai" / "bin" / "python"
DRIVES = {"openai": "openai"}
pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up"),
]
TEXTS = ["river water", "the gate of the river", "水"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home = tmp_path_factory.mktemp("encoder")
    started = DataPlane(home)
    digest = started.add(words_package, home / "words")
    grants = (
        Grant(token_sha256=hashlib.sha256(b"good").hexdigest(), subject="ada", permissions=("predict",)),
        Grant(token_sha256=hashlib.sha256(b"read").hexdigest(), subject="bob", permissions=("read",)),
        Grant(
            token_sha256=hashlib.sha256(b"seldom").hexdigest(), subject="eve", permissions=("predict",), rate_per_s=1.0
        ),
    )
    started.write(route("words", digest), route("closed", digest, public=False), grants=grants)
    started.start("--spares", "0", workers=1)
    try:
        started.settled(workers=1)
        yield started
    finally:
        started.stop()


def heard(*words: str) -> object:
    done = subprocess.run([str(PYTHON), str(CLIENT), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
def test_embeddings_models_and_errors(encoder: DataPlane, prefix: str) -> None:
    found = heard(f"http://127.0.0.1:{encoder.port}{prefix}", "words", json.dumps(TEXTS))
    wanted = words_answers(TEXTS)
    for name in ("packed", "plain", "several"):
        np.testing.assert_allclose(found[name], wanted["embedding"], atol=1e-6)
    np.testing.assert_allclose(found["one"], wanted["embedding"][0], atol=1e-6)
    assert found["packed"] == found["plain"], "both ways are the same FP32 numbers"
    assert found["index"] == [0, 1, 2]
    assert found["tokens"] == int(wanted["tokens"].sum())
    assert found["model"] == "words"
    assert found["models"] == ["words"], "a closed endpoint is nobody's business"
    assert found["retrieved"] == {"id": "words", "object": "model", "created": 0, "owned_by": "penstock"}
    assert found["unknown"] == ["NotFoundError", 404, "model_not_found", None]
    assert found["no such model"][:2] == ["NotFoundError", 404]
    assert found["tokens in"] == ["BadRequestError", 400, "input.invalid", "input"]
    assert found["cut"] == ["BadRequestError", 400, "input.invalid", "dimensions"]
    assert found["chat"][:2] == ["NotFoundError", 404]


@pytest.mark.parametrize(
    ("key", "error", "status"),
    [
        ("bad", "AuthenticationError", 401),
        ("read", "PermissionDeniedError", 403),
        ("seldom", "RateLimitError", 429),
        ("good", "", 200),
    ],
)
def test_who_may_not_hears_the_clients_own_exception(encoder: DataPlane, key: str, error: str, status: int) -> None:
    said, code, answered = heard(f"http://127.0.0.1:{encoder.port}/v1", "closed", key, "refused")
    assert (said, code) == (error, status)
    assert (answered == 20) == (status == 200)
    assert (answered > 0) == (key in ("good", "seldom"))
