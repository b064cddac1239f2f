"""How BERT's relatives differ: what they call their weights, and where they tell positions and texts otherwise.

Source: transformers, models/{bert,distilbert,roberta,xlm_roberta,mpnet}/modeling_*.py.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """How one architecture differs.

    Attributes:
        classifier: What transformers calls it with a classifier's end.
        prefix: Of its weights' names in a folder of a classifier.
        names: Patterns of its weights' names, and what BERT calls them.
        activation: Between a classifier's two layers.
        pads: Whether it counts positions behind the padding's id, as RoBERTa.
        types: Types of tokens that it has a table of: RoBERTa's is of one, BERT's of two texts.
        near: Whether it weighs how far two tokens are apart, as MPNet.
    """

    classifier: str
    prefix: str
    names: tuple[tuple[str, str], ...]
    activation: str
    pads: bool = False
    types: int = 0
    near: bool = False


_SECOND = (r"^classifier\.dense", "head.dense"), (r"^classifier\.out_proj", "head.out")
FAMILIES = {
    "bert": Family(
        "BertForSequenceClassification",
        "bert.",
        ((r"^pooler\.dense", "head.dense"), (r"^classifier\b", "head.out")),
        "tanh",
        types=2,
    ),
    "distilbert": Family(
        "DistilBertForSequenceClassification",
        "distilbert.",
        (
            (r"^transformer\.", "encoder."),
            (r"attention\.q_lin", "attention.self.query"),
            (r"attention\.k_lin", "attention.self.key"),
            (r"attention\.v_lin", "attention.self.value"),
            (r"attention\.out_lin", "attention.output.dense"),
            (r"sa_layer_norm", "attention.output.LayerNorm"),
            (r"ffn\.lin1", "intermediate.dense"),
            (r"ffn\.lin2", "output.dense"),
            (r"output_layer_norm", "output.LayerNorm"),
            (r"^pre_classifier", "head.dense"),
            (r"^classifier\b", "head.out"),
        ),
        "relu",
    ),
    "roberta": Family("RobertaForSequenceClassification", "roberta.", _SECOND, "tanh", pads=True, types=1),
    "xlm-roberta": Family("XLMRobertaForSequenceClassification", "roberta.", _SECOND, "tanh", pads=True, types=1),
    "mpnet": Family(
        "MPNetForSequenceClassification",
        "mpnet.",
        (
            (r"attention\.attn\.q\b", "attention.self.query"),
            (r"attention\.attn\.k\b", "attention.self.key"),
            (r"attention\.attn\.v\b", "attention.self.value"),
            (r"attention\.attn\.o\b", "attention.output.dense"),
            (r"attention\.LayerNorm", "attention.output.LayerNorm"),
            *_SECOND,
        ),
        "tanh",
        pads=True,
        near=True,
    ),
}
