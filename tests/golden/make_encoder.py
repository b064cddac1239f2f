"""Makes ``encoder/``: a small BERT of random weights in Hugging Face's form, and what transformers answers.

``make_encoder.py FOLDER``, with torch, transformers, tokenizers and safetensors installed.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel

out = sys.argv[1]
os.makedirs(out + "/1_Pooling", exist_ok=True)
torch.manual_seed(0)
vocab = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "river",
    "water",
    "gate",
    "##s",
    "##way",
    "the",
    "a",
    ".",
    ",",
    "!",
    "水",
    "cafe",
    "r",
    "##i",
    "##v",
    "'",
    "##e",
    "naive",
]
c = BertConfig(
    vocab_size=len(vocab),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=12,
)
m = BertModel(c, add_pooling_layer=False).eval()
with torch.no_grad():
    for p in m.parameters():
        p.add_(0.2 * torch.randn_like(p))
cfg = {
    k: v
    for k, v in c.to_dict().items()
    if k
    in (
        "model_type",
        "hidden_act",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "layer_norm_eps",
        "vocab_size",
        "type_vocab_size",
    )
}
cfg["position_embedding_type"] = "absolute"
(Path(out) / "config.json").write_text(json.dumps(cfg, ensure_ascii=False, indent=0))
save_file({k: v.contiguous() for k, v in m.state_dict().items()}, out + "/model.safetensors", metadata={"format": "pt"})
with tempfile.TemporaryDirectory() as scratch:
    words = Path(scratch) / "vocab.txt"
    words.write_text("\n".join(vocab) + "\n")
    tk = BertWordPieceTokenizer(str(words), lowercase=True)
tk.save(out + "/tokenizer.json")
(Path(out) / "modules.json").write_text(
    json.dumps(
        [
            {"type": "sentence_transformers.models.Transformer"},
            {"type": "sentence_transformers.models.Pooling"},
            {"type": "sentence_transformers.models.Normalize"},
        ],
        ensure_ascii=False,
        indent=0,
    )
)
(Path(out) / "1_Pooling/config.json").write_text(
    json.dumps(
        {
            "word_embedding_dimension": 16,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        ensure_ascii=False,
        indent=0,
    )
)
(Path(out) / "sentence_bert_config.json").write_text(
    json.dumps({"max_seq_length": 10, "do_lower_case": False}, ensure_ascii=False, indent=0)
)
texts = [
    "river",
    "the rivers, the waterway!",
    "CAFÉ naïve RIVER'S",
    "水river水",
    "",
    "unknown words",
    "[SEP] river [MASK]",
    "river " * 20,
    "a\u200b \x00 gate\ufffd.",
    "the gate... a water gate",
]
tk.enable_truncation(10)
found = []
with torch.no_grad():
    for text in texts:
        ids = tk.encode(text).ids
        h = m(input_ids=torch.tensor([ids])).last_hidden_state[0]
        v = torch.nn.functional.normalize(h.mean(0), dim=0)
        found.append({"text": text, "ids": ids, "vector": [round(x, 7) for x in v.tolist()]})
(Path(out) / "expected.json").write_text(json.dumps(found, ensure_ascii=False, indent=0))
