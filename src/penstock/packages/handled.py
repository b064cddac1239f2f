"""The signature of models that take a whole request body and answer with one, whatever is in them.

A body is text here: see `penstock.runtime.bodies`.
"""

from __future__ import annotations

from penstock.tensors import Signature, TensorSpec

BODY = "body"
_SPEC = TensorSpec(name=BODY, datatype="BYTES", shape=(-1,))
HANDLED = Signature(inputs=(_SPEC,), outputs=(_SPEC,))
"""The body of a request in, the body of its answer out."""
