"""These tests run in the environment that has every framework: `make .venv/frameworks/penstock`."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("torch") is None or find_spec("tensorflow") is None:
    collect_ignore_glob = ["*"]
