"""Why a model was not compiled, in words: what a converter raised becomes a sentence that a person can act on."""

from __future__ import annotations

import re

from penstock.build.refusals import in_words


class TooLargeToCompile(Exception):
    """A converter would need more memory than there is; the message says how much is too much."""


_UNKNOWN = re.compile(r"Unable to find a (?:shape calculator|converter) for type '?<class '[\w.]*?(\w+)'>")
_RUNTIME = re.compile(r"\[ONNXRuntimeError\]|Failed to load model")
_KNOWN = {
    "FunctionTransformer": "the function of a FunctionTransformer has no form in ONNX",
    "Unable to find column name": "a pipeline inside of the estimator picks columns by name, which is not followed",
    "got an input variable with a wrong type": "its estimator reads text as categories, which is not followed",
    "Mismatch between expected shape": "the converter counts other columns than a step reads",
    "does not support sparse": "the converter cannot write a sparse step; a dense one (sparse_output=False) may do",
}


def reason_of(error: BaseException) -> str:
    """One sentence, without the converter's advice to its own developers."""
    text = str(error)
    if isinstance(error, TooLargeToCompile):
        return text
    unknown = _UNKNOWN.search(text)
    if unknown:
        return f"no converter to ONNX knows {unknown[1]}"
    if _RUNTIME.search(text) or type(error).__module__.startswith("onnxruntime"):
        return "ONNX Runtime does not take the graph that the converter wrote"
    for part, words in _KNOWN.items():
        if part in text:
            return words
    what = in_words(error).partition(". You may")[0]
    if isinstance(error, NotImplementedError):
        return f"the converter does not know this yet: {what.partition(': ')[2]}"
    return f"the converter failed ({what})"
