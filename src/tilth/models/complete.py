"""Continue a prompt with a model: temperature and top-k sampling (Fan, Lewis and Dauphin, 2018).

A short loop over `transformers`' own cache, for looking at a model. For many prompts at a time, use
the engine of the room `serving`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import LimitError, UsageError
from tilth.tokens.bpe import decode, encode, end_id

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel


def sample(
    logits: torch.Tensor, temperature: float, top_k: int, generator: torch.Generator
) -> torch.Tensor:
    """One token id a row from logits (rows, vocabulary); temperature 0 takes the most likely."""
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    values, ids = logits.float().topk(min(top_k, logits.shape[-1]), dim=-1)
    chances = torch.softmax(values / temperature, dim=-1)
    return ids.gather(-1, torch.multinomial(chances, 1, generator=generator)).squeeze(-1)


def complete(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: str,
    tokens: int = 64,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
) -> str:
    """The continuation of a prompt, without the prompt, as the beginning of a document.

    It ends at the end token or after `tokens`. Raises LimitError where prompt and continuation do
    not fit in the model's context: nothing is cut.
    """
    end = end_id(tokenizer)
    ids = [end, *encode(tokenizer, [prompt])[0]]
    return decode(tokenizer, continued(model, ids, {end}, tokens, temperature, top_k, seed))


def answer(
    model: PreTrainedModel,
    folder: str | Path,
    question: str,
    tokens: int = 64,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
) -> str:
    """The answer to a question, rendered as the model of `folder` was tuned (`tokens.chat`).

    It ends at an end token or an end of turn, or after `tokens`. Errors as for `complete`.
    """
    from tilth.models.folder import load_tokenizer
    from tilth.tokens.chat import Chat

    tokenizer, chat = load_tokenizer(folder), Chat.load(folder)
    ids = chat.render([{"role": "user", "content": question}], answer=True).ids.tolist()
    ends = {chat.end}
    for config in (model.config, getattr(model, "generation_config", None)):
        stated = getattr(config, "eos_token_id", None)
        ends |= {stated} if isinstance(stated, int) else set(stated or ())
    return decode(tokenizer, continued(model, ids, ends, tokens, temperature, top_k, seed))


def continued(
    model: PreTrainedModel,
    ids: Sequence[int],
    ends: Collection[int],
    tokens: int = 64,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
) -> list[int]:
    """Token ids that go on from `ids`, up to one of `ends`, which is left out."""
    import torch

    if temperature < 0 or top_k < 1 or tokens < 1:
        raise UsageError("temperature must be 0 or more, top_k and tokens at least 1")
    context = getattr(model.config, "max_position_embeddings", None)
    # The last token is only given back, never read.
    if context is not None and len(ids) + tokens - 1 > context:
        raise LimitError(
            f"the prompt takes {len(ids):,} tokens and {tokens:,} are asked for; the model's "
            f"context is {context:,}",
            hint="a shorter prompt or fewer tokens",
        )
    generator = torch.Generator(device=model.device).manual_seed(seed)
    found: list[int] = []
    fed = torch.tensor([list(ids)], device=model.device)
    cache = None
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            while len(found) < tokens:
                said = model(input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache = said.past_key_values
                fed = sample(said.logits[:, -1], temperature, top_k, generator)[:, None]
                if (token := int(fed)) in ends:
                    break
                found.append(token)
    finally:
        model.train(was_training)
    return found
