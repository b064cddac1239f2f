"""Makes the candidates of ``candidates.py`` importable as ``gate_candidates``."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_spec = spec_from_file_location("gate_candidates", Path(__file__).with_name("candidates.py"))
sys.modules["gate_candidates"] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["gate_candidates"])
