"""Continue a prompt with any `transformers` decoder: a short sampling loop over its own cache."""

from __future__ import annotations

from typing import Any

from tilth.errors import LimitError, UsageError


def complete(
    model: Any,
    tokenizer: Any,
    prompt: str,
    *,
    tokens: int = 64,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
) -> str:
    """The text that follows `prompt`, at most `tokens` tokens, without the prompt.

    temperature 0 takes the most likely token; otherwise one of the `top_k` most likely is drawn by
    a generator of its own with `seed`. Raises LimitError with both numbers where prompt and answer
    do not fit the model's context; nothing is cut.
    """
    import torch

    if temperature < 0:
        raise UsageError(f"a temperature is at least 0, not {temperature}")
    end = model.config.eos_token_id
    ids = [end, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    context = model.config.max_position_embeddings
    if len(ids) + tokens > context:
        raise LimitError(
            f"the prompt has {len(ids)} tokens and {tokens} are wanted, but the model's context "
            f"is {context}",
            hint="shorten the prompt or ask for fewer tokens",
        )
    generator = torch.Generator().manual_seed(seed)
    made: list[int] = []
    cache, step = None, torch.tensor([ids])
    with torch.inference_mode():
        while len(made) < tokens:
            out = model(input_ids=step, past_key_values=cache, use_cache=True)
            cache, logits = out.past_key_values, out.logits[0, -1].float()
            if temperature == 0:
                token = int(logits.argmax())
            else:
                values, places = logits.topk(min(top_k, logits.numel()))
                chances = torch.softmax(values / temperature, dim=0)
                token = int(places[torch.multinomial(chances, 1, generator=generator)])
            if token == end:
                break
            made.append(token)
            step = torch.tensor([[token]])
    return tokenizer.decode(made)
