"""Where the harness reads and writes."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = HERE / "peers"
LIMITS = HERE / "limits"
REQUIREMENTS = PEERS / "requirements"
RESULTS = HERE / "results"
PROFILES = HERE / "profiles"
TUNED = PROFILES / "tuned.json"
DOCS = ROOT / "docs"
ENVIRONMENTS = ROOT / ".venv" / "peers"
WORK = ENVIRONMENTS / "work"
"""Models, bodies, logs of servers: made again when missing."""
