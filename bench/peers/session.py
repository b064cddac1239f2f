"""The session that every peer opens: the same graph, one thread, no spinning."""

from __future__ import annotations

import os

import onnxruntime


def open_session() -> onnxruntime.InferenceSession:
    """The graph in BENCH_MODEL."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
