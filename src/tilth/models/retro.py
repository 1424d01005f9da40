"""A decoder that reads what was found for its earlier chunks (RETRO).

Borgeaud et al. (2022), as Wang et al. (2023), "Shall we pretrain autoregressive language models
with retrieval?", trained it. `add_retrieval` turns any decoder of `retro_modules.DECODERS` into one
by surgery: a small encoder of neighbours and chunked cross-attention in some layers, behind their
self-attention. The projection of its answer begins at 0, so that the new model's logits are the old
ones' bit for bit. It learns by `objectives.retrieved`, from there or from random weights.

When: knowledge that changes, or is too much for the weights, lies in a database, and passages of it
are looked up while text is made. When not: the passages fit in the prompt and the model is large.

GPT-2's kind of decoder and Llama's are covered; in those with a norm behind the attention, such as
OLMo2, the place would be another one: refused by name. A folder saved by `models.folder.save_model`
loads again with `load_model`; transformers itself does not know it without `register()`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tilth.errors import LimitError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

    from tilth.models.retro_modules import RetroForCausalLM

# Chunk (m,) of token ids -> its neighbours (k, r), -1 where there is none.
Lookup = Callable[["np.ndarray"], "np.ndarray"]


def register() -> None:
    """Make transformers' AutoConfig and AutoModelForCausalLM know `tilth-retro`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from tilth.models.retro_modules import RetroConfig, RetroForCausalLM

    AutoConfig.register(RetroConfig.model_type, RetroConfig, exist_ok=True)
    AutoModelForCausalLM.register(RetroConfig, RetroForCausalLM, exist_ok=True)


def usual_layers(layers: int) -> list[int]:
    """Every third layer from the middle on (6, 9, 12 of 12), counted from 0; at least the last."""
    return list(range(max(1, layers // 2) - 1, layers, 3)) or [layers - 1]


def add_retrieval(
    model: PreTrainedModel,
    *,
    chunk: int = 64,
    retrieval_layers: Sequence[int] | None = None,
    encoder_layers: int = 2,
    longest_neighbour: int | None = None,
    silent: bool = True,
    seed: int = 0,
) -> RetroForCausalLM:
    """A copy of a decoder with retrieval, its logits unchanged whatever neighbours it is given.

    `longest_neighbour`: tokens, by default two chunks: a chunk and what follows it. `silent` False
    lets neighbours speak from the start, as for a model that is trained from nothing. Raises
    UsageError for an architecture that is not covered, and for layers that it does not have.
    """
    import torch

    from tilth.models.retro_modules import DECODERS, RetroConfig, RetroForCausalLM

    kind, layers = model.config.model_type, model.config.num_hidden_layers
    if kind not in DECODERS:
        raise UsageError(
            f"retrieval cannot be added to a model of type {kind}", hint=", ".join(DECODERS)
        )
    chosen = usual_layers(layers) if retrieval_layers is None else sorted(set(retrieval_layers))
    if not chosen or chosen[0] < 0 or chosen[-1] >= layers:
        raise UsageError(f"layers {chosen} of a model that has 0 to {layers - 1}")
    if chunk < 2 or encoder_layers < 1:
        raise UsageError("a chunk has at least 2 tokens, the encoder at least 1 layer")
    register()
    inner = model.config.to_diff_dict() | {"model_type": kind}
    inner = {key: value for key, value in inner.items() if not key.startswith("_")}
    config = RetroConfig(
        decoder=inner, chunk=chunk, retrieval_layers=chosen, encoder_layers=encoder_layers,
        longest_neighbour=longest_neighbour or 2 * chunk,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = RetroForCausalLM(config)
    if silent:
        made.silence()
    made.decoder.load_state_dict(copy.deepcopy(model.state_dict()))
    return made.to(model.dtype).eval()


def build(
    size: str | int = "1m", *, vocabulary: int, context: int = 256, chunk: int = 64, seed: int = 0,
    end: int = 0, retrieval_layers: Sequence[int] | None = None, encoder_layers: int = 2,
) -> RetroForCausalLM:  # fmt: skip
    """A Llama decoder of about `size` parameters, and what retrieval adds; random weights."""
    from tilth.models.decoder import build as build_decoder

    decoder = build_decoder(size, vocabulary=vocabulary, context=context, seed=seed, end=end)
    return add_retrieval(
        decoder, chunk=chunk, retrieval_layers=retrieval_layers, encoder_layers=encoder_layers,
        silent=False, seed=seed,
    )  # fmt: skip


def continue_tokens(
    model: RetroForCausalLM,
    prompt: Sequence[int],
    lookup: Lookup | None,
    tokens: int,
    *,
    choose: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> list[int]:
    """`tokens` more token ids behind a prompt; neighbours are looked up at each chunk's end.

    `lookup` None reads no neighbours. `choose` takes logits (1, vocabulary) to an id (1,), by
    default the most likely. It ends early at the model's end token, which is not given back.
    Raises LimitError where all does not fit in the context.
    """
    import numpy as np
    import torch

    context = model.config.max_position_embeddings
    if len(prompt) + tokens - 1 > context:
        raise LimitError(f"{len(prompt):,} and {tokens:,} tokens; the context is {context:,}")
    if not prompt or tokens < 1:
        raise UsageError("a prompt and at least one token to make are needed")
    chunk, end = model.config.chunk, model.config.eos_token_id
    read, fed, state = list(prompt), list(prompt), None
    found: list[int] = []
    with torch.inference_mode():
        while True:
            done = 0 if state is None else state.tokens
            ends = range((done // chunk + 1) * chunk, done + len(fed) + 1, chunk)
            near = None
            if lookup is not None and len(ends):
                near = torch.from_numpy(
                    np.stack([lookup(np.array(read[stop - chunk : stop])) for stop in ends])
                ).long()[None].to(model.device)  # fmt: skip
            answer = model(
                torch.tensor([fed], device=model.device), near, past_key_values=state,
                use_cache=True, logits_to_keep=1,
            )  # fmt: skip
            state = answer.past_key_values
            logits = answer.logits[:, -1]
            token = int(logits.argmax(-1) if choose is None else choose(logits))
            if token == end:
                return found
            found.append(token)
            if len(found) == tokens:
                return found
            read.append(token)
            fed = [token]
