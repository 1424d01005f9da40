"""Greedy continuations of many prompts at a time, and documents of question and answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments

# Rows that are continued together.
ROWS = 64


def conversations(pairs: Sequence[tuple[str, str]], tokenizer: Any) -> TokenDocuments:
    """end prompt answer end, one document a pair; `learn` marks the answer and its end."""
    end = bpe.end_id(tokenizer)
    prompts = bpe.encode(tokenizer, [prompt for prompt, _ in pairs])
    answers = bpe.encode(tokenizer, [answer for _, answer in pairs])
    rows, learn = [], []
    for prompt, answer in zip(prompts, answers):
        rows.append(np.array([end, *prompt, *answer, end], np.uint32))
        learn.append(np.arange(len(rows[-1])) > len(prompt))
    sizes = [len(answer.encode()) for _, answer in pairs]
    ids = [f"pair {n}" for n in range(len(rows))]
    vocabulary = tokenizer.get_vocab_size()
    return TokenDocuments(ids, rows, vocabulary, end, sizes, extra={"learn": learn})


def continued(model: Any, tokenizer: Any, prompts: Sequence[str], most: int) -> list[str]:
    """The most likely continuation of each prompt, token by token, up to the end token or `most`.

    What does not fit in the model's context ends there.
    """
    import torch

    end = bpe.end_id(tokenizer)
    ids = [[end, *row] for row in bpe.encode(tokenizer, list(prompts))]
    context = getattr(model.config, "max_position_embeddings", None) or 1 << 30
    found: list[list[int]] = [[] for _ in ids]
    by_length: dict[int, list[int]] = {}
    for number, row in enumerate(ids):
        by_length.setdefault(len(row), []).append(number)
    model.eval()
    # Rows of one length need no padding.
    groups = [
        group[n : n + ROWS] for group in by_length.values() for n in range(0, len(group), ROWS)
    ]
    with torch.inference_mode():
        for group in groups:
            rows, open_ = torch.tensor([ids[n] for n in group]), set(group)
            for _ in range(most):
                if not open_ or rows.shape[1] > context:
                    break
                chosen = model(input_ids=rows, use_cache=False).logits[:, -1].argmax(-1)
                for number, token in zip(group, chosen.tolist()):
                    if token == end:
                        open_.discard(number)
                    elif number in open_:
                        found[number].append(token)
                rows = torch.cat([rows, chosen[:, None]], dim=1)
    return [bpe.decode(tokenizer, row) for row in found]
