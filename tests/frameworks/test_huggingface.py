"""Folders that transformers saved answer as transformers does: tokens exactly, numbers within 1e-4, in any batch."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest
import tokenizers
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.frameworks.hub_for_tests import CLASSIFIERS, CORPUS, ENCODERS, write_bert
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from penstock.build.assemble import build
from penstock.build.folders import archive_folder
from penstock.build.formats.huggingface import HuggingFaceFormat, TextModel
from penstock.build.forms import FormTask, make_forms
from penstock.build.parity import run_session
from penstock.build.request import BuildRequest
from penstock.errors import PenstockError
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove
from penstock.runtime.tokenizer import Tokenizer
from penstock.tensors import Array, Arrays

FOLDERS = CLASSIFIERS | ENCODERS
ODD = [
    "", " ", "\t\n", "水river水 東京タワー", "CAFÉ naïve RIVER'S ΣΊΣΥΦΟΣ ß İ",
    "emoji 🌊👩‍👧 zero\u200bwidth\ufeff a\x00\x7f",
    "[SEP] river [MASK] <s> x <mask>  y </s>", "river " * 400, "x" * 300, "'s we'll don'T 12 345% \u2028  end  ",
    "e\u0301\u0301 \u0301 ﬁ ½ Ⅷ नमस्ते 한국어 مرحبا", "the gate... a water gate", "  lead", "trail  \n ",
]  # fmt: skip
KNOWN = "".join(sorted({one for text in CORPUS for one in text}))
# What this Python's Unicode knows: tables hold still what counts as what, but not the lower case of newer scripts.
ANY = st.characters(exclude_categories=("Cs", "Cn"))
TEXTS = st.one_of(
    st.text(ANY, max_size=40),
    st.text(st.one_of(st.sampled_from(KNOWN), ANY, st.sampled_from(" \t\n'0\u0301\u200b")), max_size=200),
    st.lists(st.sampled_from([*" ".join(CORPUS).split(), "[SEP]", "<mask>", "</s>", "[", "]"]), max_size=120).map(
        " ".join
    ),
)
QUICK = settings(
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@cache
def folder(name: str) -> Path:
    made = Path(mkdtemp(prefix="hub-")) / "folder"
    made.mkdir()
    FOLDERS[name](made)
    return made


@cache
def ours(name: str) -> TextModel:
    archive = folder(name).parent / "archive"
    archive_folder(folder(name), archive)
    assert HuggingFaceFormat().sniff(archive)
    opened = HuggingFaceFormat().open(archive)
    assert isinstance(opened, TextModel)
    return opened


@cache
def theirs(name: str) -> tuple[object, torch.nn.Module]:
    auto = AutoModel if name in ENCODERS else AutoModelForSequenceClassification
    return AutoTokenizer.from_pretrained(folder(name)), auto.from_pretrained(folder(name)).eval()


def tokenizer(name: str) -> Tokenizer:
    return ours(name)._encoder.tokenizer


def most(name: str) -> int:
    return ours(name)._encoder.network.most


def expected(name: str, *texts: Sequence[str]) -> Array:
    """What transformers answers to a batch, padded to its longest."""
    tokenize, model = theirs(name)
    asked = tokenize(*map(list, texts), truncation=True, max_length=most(name), padding=True, return_tensors="pt")
    with torch.no_grad():
        if name not in ENCODERS:
            logits = model(**asked).logits
            if logits.shape[1] == 1:
                return logits[:, 0].numpy()
            return (logits.sigmoid() if "several" in name else logits.softmax(-1)).numpy()
        hidden = model(**asked).last_hidden_state
        if name == "roberta encoder":
            return hidden[:, 0].numpy()
        mask = asked["attention_mask"][..., None]
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()


def rows(*texts: Sequence[str]) -> Arrays:
    names = ("text", "text_pair")[: len(texts)]
    return {name: np.array(column, object).reshape(-1, 1) for name, column in zip(names, texts, strict=True)}


def numbers(answers: Arrays) -> Array:
    return answers["probabilities" if "probabilities" in answers else "prediction"]


@pytest.mark.parametrize("name", ["bert", "bert of old", "roberta", "roberta of old", "mpnet encoder"])
def test_texts_have_the_tokens_that_they_have_there(name: str) -> None:
    tokenize, _ = theirs(name)

    def agree(text: str) -> None:
        assert tokenizer(name).ids(text) == tokenize(text, truncation=True, max_length=most(name))["input_ids"]

    for text in ODD:
        agree(text)
    QUICK(given(TEXTS)(agree))()


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet encoder"])
def test_two_texts_are_cut_and_told_apart_as_there(name: str) -> None:
    tokenize, _ = theirs(name)

    def agree(one: str, other: str) -> None:
        given_ids, types = tokenizer(name).encoded(one, other)
        # As a batch of one: alone, an empty second text counts as none there.
        asked = tokenize([one], [other], truncation=True, max_length=most(name), return_token_type_ids=True)
        assert given_ids == asked["input_ids"][0]
        assert types == asked["token_type_ids"][0]

    for one, other in zip(ODD, ODD[::-1], strict=True):
        agree(one, other)
    QUICK(given(TEXTS, TEXTS)(agree))()


def test_every_character_has_the_tokens_that_it_has_there() -> None:
    """Between letters, between numbers and alone: what is cleaned, parted, stripped and small, of all of Unicode."""
    known = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")]
    for name in ("bert", "roberta"):
        fast = tokenizers.Tokenizer.from_str(theirs(name)[0].backend_tokenizer.to_str())
        fast.no_truncation()
        slow = Tokenizer(ours(name)._encoder.tree, 1 << 20)
        for start in range(0, len(known), 400):
            some = known[start : start + 400]
            text = " ".join(f"a{one}b 1{one}2 {one}" for one in some)
            assert slow.ids(text) == fast.encode(text).ids, (name, hex(ord(some[0])))


@pytest.mark.parametrize("name", FOLDERS)
def test_numpy_and_graph_answer_as_transformers(name: str) -> None:
    model = ours(name)
    for texts in ([ODD], [ODD, ODD[::-1]]):
        asked = rows(*texts)
        specs = model.inputs(pd.DataFrame({key: value[:, 0] for key, value in asked.items()}))
        wanted = expected(name, *texts)
        found = model.answer(specs, asked)
        np.testing.assert_allclose(numbers(found), wanted, atol=1e-4)
        assert np.ptp(wanted, axis=0).max() > 0.01  # else anything would do
        (compiled,) = model.graphs(specs, ())
        graph = compiled()
        answered = run_session(graph, asked, tuple(found))
        np.testing.assert_allclose(numbers(answered), wanted, atol=1e-4)
        if "label" in found:
            assert answered["label"].tolist() == found["label"].tolist()
            assert answered["label"].tolist() == [model.classes[at] for at in wanted.argmax(axis=1)]
        for at in range(0, len(ODD), 3):
            alone = run_session(graph, {key: value[at : at + 1] for key, value in asked.items()}, tuple(found))
            np.testing.assert_allclose(numbers(alone)[0], numbers(answered)[at], atol=1e-5)
            np.testing.assert_allclose(numbers(alone)[0], expected(name, *([one[at]] for one in texts))[0], atol=1e-4)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    data = pd.DataFrame({"text": [*CORPUS, *ODD]})
    return build(folder("bert"), BuildRequest(name="flood", out=tmp_path_factory.mktemp("out"), data=data, lock=False))


def test_a_folder_is_packaged_as_a_graph_that_takes_texts(package: Package) -> None:
    manifest = package.manifest
    assert (manifest.kind, manifest.engine, manifest.task) == ("huggingface", "onnxruntime", "classification")
    assert manifest.classes == ("calm", "wild", "flood")
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.parity.rows >= len(ODD)
    engine = open_engine(package)
    try:
        assert engine.inline
        prove(engine, package)
        texts = [*ODD, *CORPUS[:4]] * 9
        answers = engine.run(rows(texts))
        np.testing.assert_allclose(answers["probabilities"], expected("bert", texts), atol=1e-4)
    finally:
        engine.close()


@pytest.mark.parametrize("kind", ["dynamic_int8", "float16"])
def test_its_graph_can_be_compressed(package: Package, kind: str) -> None:
    texts = [*ODD, *CORPUS[:4]]
    (made,) = make_forms(
        FormTask(graph=str(package.entry), rows="", outputs=("label", "probabilities"), compression=kind), rows(texts)
    )[-1:]
    assert made.graph, made.reason
    assert len(made.graph) < package.entry.stat().st_size
    found = run_session(made.graph, rows(texts), ("probabilities",))["probabilities"]
    np.testing.assert_allclose(found, expected("bert", texts), atol=0.05)


def changed(name: str, file: str, **values: object) -> Path:
    made = Path(mkdtemp(prefix="hub-")) / "folder"
    shutil.copytree(folder(name), made)
    tree = json.loads((made / file).read_text())
    (made / file).write_text(json.dumps(tree | values))
    return made


UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}
REFUSED = {
    "another architecture": (lambda: changed("bert", "config.json", model_type="t5"), "architecture"),
    "another end": (lambda: changed("bert", "config.json", architectures=["BertForMaskedLM"]), "architecture"),
    "another activation": (lambda: changed("bert", "config.json", hidden_act="silu"), "architecture"),
    "code of its own": (lambda: changed("bert", "config.json", auto_map={"AutoModel": "a.B"}), "architecture"),
    "more layers": (lambda: changed("bert", "config.json", num_hidden_layers=3), "weights"),
    "more labels": (lambda: changed("bert", "config.json", id2label={str(at): str(at) for at in range(4)}), "weights"),
    "labels from one": (lambda: changed("bert", "config.json", id2label={"1": "a", "2": "b"}), "numbered"),
    "two labels of one name": (lambda: changed("bert", "config.json", id2label={"0": "a", "1": "a", "2": "b"}), "name"),
    "a tokenizer of sentencepiece's": (lambda: changed("roberta", "tokenizer.json", model=UNIGRAM), "tokenizer"),
    "another normalizer": (lambda: changed("bert", "tokenizer.json", normalizer={"type": "NFKC"}), "tokenizer"),
    "another case": (lambda: changed("bert", "tokenizer_config.json", do_lower_case=False), "case"),
    "an index that leads out": (
        lambda: changed("bert of old", "model.safetensors.index.json", weight_map={"a": "../model.safetensors"}),
        "index",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_computed_here_is_refused_and_says_what_to_do(what: str, tmp_path: Path) -> None:
    make, says = REFUSED[what]
    archive_folder(make(), tmp_path / "archive")
    with pytest.raises(PenstockError, match=says) as refusal:
        HuggingFaceFormat().open(tmp_path / "archive")
    assert refusal.value.hint


def test_pickled_weights_are_not_even_read(tmp_path: Path) -> None:
    write_bert(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(PenstockError, match=r"lacks model\.safetensors") as refusal:
        archive_folder(tmp_path, tmp_path / "archive")
    assert "safetensors" in refusal.value.hint
