"""A sentence encoder answers as its framework does, from a folder to a client; what it cannot compute it refuses.

``golden/encoder`` and what transformers answers to it were made by ``golden/make_encoder.py``.
"""

from __future__ import annotations

import json
import shutil
from mmap import mmap
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from dataplane_for_tests import DataPlane, route
from penstock.build.assemble import build
from penstock.build.folders import archive_folder
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig, Corrupt, InvalidInput, PenstockError
from penstock.runtime.encoder import TextEncoder, open_encoder
from penstock.runtime.hubfolder import FILES, WEIGHTS, read_folder

FOLDER = Path(__file__).parents[1] / "golden" / "encoder"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
CONTENTS = {name: (FOLDER / name).read_bytes() for name in FILES if (FOLDER / name).exists()}


def changed(name: str, **values: object) -> dict[str, bytes]:
    return CONTENTS | {name: json.dumps(json.loads(CONTENTS[name]) | values).encode()}


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: repr(case["text"][:12]))
def test_it_answers_as_the_framework_does(case: dict) -> None:
    assert TextEncoder(CONTENTS).tokenizer.ids(case["text"]) == case["ids"]
    found = TextEncoder(CONTENTS).answer_arrays({"text": np.array([[case["text"]]], object)})
    np.testing.assert_allclose(found["prediction"], [case["vector"]], atol=1e-6)
    assert found["tokens"].tolist() == [len(case["ids"])]


def test_a_text_is_answered_the_same_whoever_else_asks() -> None:
    texts = np.array([case["text"] for case in EXPECTED], object)
    encoder = TextEncoder(CONTENTS)
    together = encoder.predict(texts)
    for text, vector in zip(texts, together, strict=True):
        assert encoder.predict(np.array([text], object))[0].tobytes() == vector.tobytes()


def test_the_first_token_and_any_length_where_the_folder_says_so() -> None:
    files = changed("1_Pooling/config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    files["modules.json"] = json.dumps(json.loads(CONTENTS["modules.json"])[:2]).encode()
    vector = TextEncoder(files).predict(np.array(["river"], object))[0]
    assert np.linalg.norm(vector) > 1.5
    assert not np.allclose(vector / np.linalg.norm(vector), EXPECTED[0]["vector"], atol=1e-3)


BAD = {
    "another architecture": changed("config.json", model_type="t5"),
    "another activation": changed("config.json", hidden_act="silu"),
    "relative positions": changed("config.json", position_embedding_type="relative_key"),
    "two poolings": changed("1_Pooling/config.json", pooling_mode_max_tokens=True),
    "another pooling": changed("1_Pooling/config.json", pooling_mode_max_tokens=True, pooling_mode_mean_tokens=False),
    "a further module": CONTENTS | {"modules.json": b'[{"type": "a.Transformer"}, {"type": "a.Dense"}]'},
    "modules that are none": CONTENTS | {"modules.json": b"3"},
    "no size": changed("config.json", hidden_size=0),
    "another size": changed("config.json", hidden_size=32),
    "more layers": changed("config.json", num_hidden_layers=3),
    "another tokenizer": changed("tokenizer.json", model={"type": "BPE"}),
    "no JSON": CONTENTS | {"config.json": b"{"},
    "no weights": CONTENTS | {"model.safetensors": b"x"},
}


@pytest.mark.parametrize("what", BAD)
def test_what_it_cannot_compute_it_refuses(what: str) -> None:
    with pytest.raises((BadConfig, InvalidInput, Corrupt)):
        TextEncoder(BAD[what])


def test_a_folder_becomes_the_same_archive_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        archive_folder(FOLDER, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert open_encoder(tmp_path / "a").size == 16
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:5000])
    with pytest.raises(PenstockError):
        open_encoder(tmp_path / "a")


def test_weights_are_mapped_where_they_lie_and_read_from_archives_of_before(tmp_path: Path) -> None:
    archive_folder(FOLDER, tmp_path / "mapped")
    with ZipFile(tmp_path / "read", "w") as archive:
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    files, mapped = read_folder(tmp_path / "mapped")
    assert {name: bytes(content) for name, content in mapped.items()} == {WEIGHTS: CONTENTS[WEIGHTS]}
    assert isinstance(mapped[WEIGHTS].obj, mmap)
    assert files == {name: content for name, content in CONTENTS.items() if name != WEIGHTS}
    assert read_folder(tmp_path / "read") == (CONTENTS, {})
    texts = np.array([case["text"] for case in EXPECTED], object)
    encoders = [open_encoder(tmp_path / name) for name in ("mapped", "read")]
    weight = encoders[0].network.weights["embeddings.word_embeddings.weight"]
    assert weight.flags.aligned
    assert not weight.flags.owndata
    assert encoders[0].predict(texts).tobytes() == encoders[1].predict(texts).tobytes()


@pytest.mark.parametrize("where", [0.5, 0.99])
def test_an_archive_whose_weights_were_changed_is_damaged(where: float, tmp_path: Path) -> None:
    archive_folder(FOLDER, tmp_path / "archive")
    data = bytearray((tmp_path / "archive").read_bytes())
    begin = data.index(CONTENTS[WEIGHTS])
    data[begin + int(len(CONTENTS[WEIGHTS]) * where)] ^= 1
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(Corrupt, match="damaged"):
        open_encoder(tmp_path / "archive")


def test_other_folders_and_links_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(FOLDER, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InvalidInput, match=r"lacks tokenizer\.json"):
        archive_folder(folder, tmp_path / "archive")
    shutil.copyfile(FOLDER / "tokenizer.json", folder / "tokenizer.json")
    (folder / "modules.json").unlink()
    archive_folder(folder, tmp_path / "archive")
    with pytest.raises(BadConfig, match="architecture"):
        open_encoder(tmp_path / "archive")
    (folder / "modules.json").symlink_to(FOLDER / "modules.json")
    with pytest.raises(InvalidInput, match="link"):
        archive_folder(folder, tmp_path / "archive")


def test_from_a_folder_to_openais_dialect(tmp_path: Path) -> None:
    package = build(FOLDER, BuildRequest(name="encoder", out=tmp_path / "out", lock=False))
    assert (package.manifest.kind, package.manifest.engine) == ("huggingface", "onnxruntime")
    plane = DataPlane(tmp_path)
    plane.packages[package.digest] = str(package.folder)
    plane.write(route("encoder", package.digest))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        texts = [case["text"] for case in EXPECTED if case["text"]]
        answer = plane.ask("POST", "/v1/embeddings", json.dumps({"model": "encoder", "input": texts}))
        assert answer.status == 200, answer.body
        vectors = [entry["embedding"] for entry in answer.json["data"]]
        np.testing.assert_allclose(vectors, [case["vector"] for case in EXPECTED if case["text"]], atol=1e-6)
        tokens = sum(len(case["ids"]) for case in EXPECTED if case["text"])
        assert answer.json["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens, "estimated": False}
        asked = {"instances": ["river", "the gate"], "parameters": {"class": "3"}}
        explained = plane.ask("POST", "/v1/models/encoder:explain", json.dumps(asked))
        assert explained.status == 200, explained.body
        for one, vector in zip(explained.json["explanations"], (EXPECTED[0]["vector"], None), strict=True):
            assert one["base"] + one["values"]["text"] == pytest.approx(one["answer"])
            assert vector is None or one["answer"] == pytest.approx(vector[3], abs=1e-6)
    finally:
        plane.stop()
