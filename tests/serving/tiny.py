"""Decoders with random weights, one of each family, and a tokenizer for them."""

import copy
import functools

import numpy as np
import torch

from tilth.tokens import bpe

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": None,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
        "original_max_position_embeddings": 32}  # fmt: skip
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
# name -> (class of transformers, what is set beside the sizes)
MODELS = {
    "llama": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "llama-3": ("LlamaForCausalLM", {"rope_parameters": LLAMA3}),
    "llama-yarn": (
        "LlamaForCausalLM",
        {"rope_parameters": YARN, "attention_bias": True, "mlp_bias": True},
    ),
    "llama-linear": ("LlamaForCausalLM", {"rope_parameters": LINEAR}),
    "mistral": ("MistralForCausalLM", {"sliding_window": 7, "head_dim": 16}),
    "qwen2": (
        "Qwen2ForCausalLM",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3ForCausalLM", {"head_dim": 16}),
    "olmo2": ("Olmo2ForCausalLM", {}),
    "gpt2": ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}),
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "bos_token_id": 0,
        "eos_token_id": 0}  # fmt: skip


@functools.cache
def tokenizer():
    return bpe.train(["one two three four five six seven \u00e9\u20ac"] * 3, 280)


# What the tests of exactness run over: one configuration of each family.
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "olmo2", "gpt2"]


@functools.cache
def model(name="llama", device="cpu", dtype="float32"):
    """Random weights, larger than usual, so that logits are far apart. Made once: not to be
    changed."""
    import transformers

    if (device, dtype) != ("cpu", "float32"):
        return copy.deepcopy(model(name)).to(device, getattr(torch, dtype))
    kind, settings = MODELS[name]
    maker = getattr(transformers, kind)
    sizes = GPT2 if name == "gpt2" else SIZES
    config = maker.config_class(**{"vocab_size": 280, **sizes, **settings})
    return random_weights(maker, config, seed=len(name))


def random_weights(maker, config, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = maker(config).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.15 * torch.randn_like(parameter))
    return made


def logits(made, ids):
    """Those of `transformers` for one sequence, (tokens, vocabulary), on the processor."""
    with torch.inference_mode():
        given = torch.tensor([list(ids)], device=made.device)
        return made(input_ids=given, use_cache=False).logits[0].cpu()


def prompts(seed, lengths):
    draw = np.random.default_rng(seed)
    return [draw.integers(1, 280, length).tolist() for length in lengths]
