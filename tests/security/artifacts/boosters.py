"""Boosters' own files, and arrays: numbers that no tree has, and files that are something else."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.security.artifacts.artifact import Artifact, Target, several
from tests.security.artifacts.opcodes import call, pickled

_TREE = "Tree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature={feature}\nsplit_gain=1\nthreshold=0.5\ndecision_type=2\nleft_child={left}\nright_child=-2\nleaf_value=1 2\nleaf_weight=1 1\nleaf_count=1 1\ninternal_value=0\ninternal_weight=0\ninternal_count=2\nis_linear=0\nshrinkage=1\n"


def lightgbm_text(tree: str, head: str = "num_class=1", parameters: str = "") -> bytes:
    top = f"tree\nversion=v4\n{head}\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=2\nobjective=regression\nfeature_names=a b c\nfeature_infos=none none none\ntree_sizes={len(tree)}\n\n"
    return f"{top}{tree}\nend of trees\n\nparameters:\n{parameters}\nend of parameters\n".encode()


def files(target: Target) -> Iterator[tuple[str, str, bytes]]:
    yield "lightgbm", "cut off", lightgbm_text(_TREE.format(feature=0, left=-1))[:150]
    yield (
        "lightgbm",
        "a tree of a billion leaves",
        lightgbm_text(_TREE.format(feature=0, left=-1).replace("num_leaves=2", "num_leaves=1000000000")),
    )
    yield "lightgbm", "a number that is none", lightgbm_text(_TREE.format(feature="x", left="y"))
    yield "lightgbm", "no trees but a pickle", b"tree\nversion=v4\n" + pickled(call("os", "system", target.shell))
    yield "lightgbm", "nothing behind its head", b"tree\nversion="
    for what, learner in {
        "no learner": {}, "a learner that is text": "os.system", "a booster of nobody": {"gradient_booster": {"name": "evil"}},
        "an objective of nobody": {"gradient_booster": {"name": "gbtree", "model": {}}, "objective": {"name": "evil"}},
        "trees that are not there": {"gradient_booster": {"name": "gbtree", "model": {"gbtree_model_param": {"num_trees": "99999999"}, "trees": []}}},
        "numbers below zero": {"learner_model_param": {"num_feature": "-1", "num_class": "-1", "base_score": "nan"}},
    }.items():  # fmt: skip
        yield "xgboost", what, json.dumps({"learner": learner, "version": [3, 2, 0]}).encode()
    yield "xgboost", "a hundred thousand brackets", b'{"learner":' + b"[" * 100_000
    yield "xgboost", "binary, cut off", b"{L\0\0\0\0\0\0\0\x07learner{L"
    yield "xgboost", "binary, a length of 2**63", b"{L" + b"\x7f" + b"\xff" * 7 + b"learner"
    yield (
        "array",
        "objects that are a pickle",
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
        + b"\n"
        + pickled(call("os", "system", target.shell)),
    )
    yield (
        "array",
        "a header that is code",
        b"\x93NUMPY\x01\x00v\x00" + b"__import__('os').system('true')".ljust(117) + b"\n",
    )
    yield "array", "a header of four gigabytes", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"
    yield "text", "Python", target.source.encode()
    yield "text", "a shell's", b"#!/bin/sh\n" + target.shell.encode()
    yield "text", "a tag of YAML's", b"!!python/object/apply:os.system ['true']\n"
    yield (
        "text",
        "PMML with an entity",
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{target.secret}">]><PMML>&e;</PMML>'.encode(),
    )
    yield "binary", "a program", b"\x7fELF\x02\x01\x01" + bytes(500)
    yield "binary", "compiled Python", b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(100)
    yield "binary", "HDF5", b"\x89HDF\r\n\x1a\n" + bytes(2000)
    yield "binary", "a database", b"SQLite format 3\0" + bytes(1000)
    yield "binary", "a graph of TensorFlow Lite's", b"\x1c\0\0\0TFL3" + bytes(500)
    yield "binary", "weights of GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 16 + bytes(100)
    yield "binary", "a model of CatBoost's, cut off", b"CBM1" + b"\xff\xff\xff\x7f" + bytes(50)


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    yield from several("boosters", lambda target: _of(target, boosters=True))
    yield from several("other files", lambda target: _of(target, boosters=False))


def _of(target: Target, *, boosters: bool) -> Iterator[tuple[str, bytes]]:
    for kind, what, data in files(target):
        if (kind in ("lightgbm", "xgboost")) == boosters:
            yield f"{kind}: {what}", data
