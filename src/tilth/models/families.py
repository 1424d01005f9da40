"""Decoders of other families than Llama's, in small: the very blocks of `transformers`.

- `llama`: pre-norm, RMSNorm, rotary positions, SwiGLU (Touvron et al., 2023).
- `qwen2`: the same with biases on queries, keys and values, and fewer heads for keys and values
  than for queries (Qwen team, 2024).
- `olmo2`: the norms stand after attention and inner layer, before the sum, and queries and keys
  are normalised over their whole width (OLMo team, 2024).

For comparing blocks at equal width and depth. For one size dial, and Llama's block, see `decoder`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError, nearest
from tilth.models.decoder import HEAD, inner_width

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAMILIES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "olmo2": "Olmo2ForCausalLM"}


def build_family(
    family: str,
    *,
    width: int,
    layers: int,
    vocabulary: int,
    context: int,
    seed: int = 0,
    end: int = 0,
    tied: bool = False,
    key_heads: int | None = None,
    rope_base: float = 10_000.0,
    head: int = HEAD,
) -> PreTrainedModel:
    """A decoder with random weights in float32; the same seed gives the same weights.

    `key_heads`: heads of keys and values, as many as those of queries by default. Heads have `head`
    dimensions. Raises UsageError for an unknown family and a width that is no multiple of `head`.
    """
    import torch
    import transformers

    if family not in FAMILIES:
        raise UsageError(f"there is no family {family!r}", hint=nearest(family, FAMILIES))
    if width % head:
        raise UsageError(f"a width of {width} is no multiple of {head}")
    kind: Any = getattr(transformers, FAMILIES[family])
    config = kind.config_class(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner_width(width),
        num_hidden_layers=layers,
        num_attention_heads=width // head,
        num_key_value_heads=key_heads or width // head,
        max_position_embeddings=context,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": rope_base},
        tie_word_embeddings=tied,
        bos_token_id=end,
        eos_token_id=end,
        # A padding id would keep its row of the embeddings at 0: here every id is text.
        pad_token_id=None,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
    model.generation_config.pad_token_id = end
    return model.eval()
