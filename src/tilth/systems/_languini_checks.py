"""What must hold exactly in the system `languini`, whatever is measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from tilth.evaluation.card import Invariant, Measured
from tilth.evaluation.compute_classes import normalised_perplexity
from tilth.models.quasi_lstm import scan, scan_sequentially
from tilth.models.recurrent import MIXERS, build
from tilth.systems._languini_arms import Inputs
from tilth.systems._languini_texts import Texts
from tilth.tokens import bpe

TOLERANCE = 1e-4


def recurrence() -> Iterable[Invariant]:
    """The block form against the loop, and pieces of a text against the whole."""
    import torch

    chance = torch.Generator().manual_seed(0)
    forget = torch.sigmoid(4 * torch.randn(3, 61, 16, generator=chance) + 1)
    update = torch.randn(3, 61, 16, generator=chance)
    before = torch.randn(3, 16, generator=chance)
    expected = scan_sequentially(forget, update, before)
    errors = [
        float((scan(forget, update, before, block) - expected).abs().max())
        for block in (0, 1, 2, 7, 16, 61, 200)
    ]
    yield Invariant("the block scan is the loop within 1e-4 for any block", max(errors) < TOLERANCE)
    ids = torch.randint(1, 300, (2, 30), generator=chance)
    equal = True
    with torch.inference_mode():
        for mixer in MIXERS:
            model = build(mixer, "30k", vocabulary=300)
            first = model(ids[:, :11], use_cache=True)
            second = model(ids[:, 11:], past_key_values=first.past_key_values)
            parts = torch.cat([first.logits, second.logits], 1)
            equal = equal and torch.allclose(parts, model(ids).logits, atol=TOLERANCE)
    yield Invariant("state that is carried over equals one long sequence", equal)


def score(texts: Texts) -> Iterable[Invariant]:
    """A model that knows nothing of bytes has perplexity 256, however the text is cut."""
    text = "Call me Ishmael. Some years ago \u2013 never mind how long precisely \u2013 " * 8
    found = []
    for vocabulary in (257, 290):
        tokenizer = bpe.train([text], vocabulary)
        ids = bpe.encode(tokenizer, [text])[0]
        nats = sum(len(tokenizer.id_to_token(one)) * math.log(256) for one in ids)
        found.append(normalised_perplexity(nats, len(text.encode("utf-8"))))
    same = all(math.isclose(one, 256, rel_tol=1e-9) for one in found)
    yield Invariant("a uniform byte model scores the same under two tokenizers", same)
    apart = not set(map(bytes, texts.train.tokens)) & set(map(bytes, texts.test.tokens))
    yield Invariant("no document is on both sides", apart)


def budgets(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """A class is as many whole steps as its seconds buy, and scores all bytes of the test."""
    whole, scored = True, True
    step = inputs.batch_tokens // inputs.objective.length * inputs.objective.length
    for arm in measured.values():
        rate = arm.products["rate"].tokens_per_second
        for run in arm.products["runs"]:
            whole = whole and 0 <= rate * run.seconds - run.tokens < step + 1
            scored = scored and run.bytes.sum() == inputs.texts.test.text_bytes.sum()
    yield Invariant("each class is the whole steps that its seconds buy", whole)
    yield Invariant("bytes are counted on exactly the scored text", scored)
