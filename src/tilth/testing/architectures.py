"""Tiny models with random weights of every architecture that has a map of its axes."""

import functools

WIDTH = 32
SIZES = {
    "vocab_size": 60, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 40,
}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1}
HEADED = {**GROUPED, "head_dim": 8}
NARROW = {**SIZES, "embedding_size": 16}
WINDOWED = {**SIZES, "attention_window": [4, 8]}
GPT2 = {
    "vocab_size": 60, "n_embd": WIDTH, "n_layer": 2, "n_head": 4, "n_positions": 40, "n_inner": 48,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# Biases everywhere, so that none is forgotten; layers 0 and 3, 6 ... are global, others local.
MODERN = {
    **SIZES, "local_attention": 8, "norm_bias": True, "attention_bias": True, "mlp_bias": True,
    "classifier_bias": True, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "cls_token_id": 1, "sep_token_id": 2,
}  # fmt: skip
PLAIN = {
    **MODERN, "norm_bias": False, "attention_bias": False, "mlp_bias": False,
    "classifier_bias": False, "global_attn_every_n_layers": 1,
}  # fmt: skip

# name -> (configuration, class, settings)
MODELS = {
    "bert": ("BertConfig", "BertForMaskedLM", SIZES),
    "bert-untied": ("BertConfig", "BertForMaskedLM", {**SIZES, "tie_word_embeddings": False}),
    "bert-pretraining": ("BertConfig", "BertForPreTraining", SIZES),
    "bert-classifier": ("BertConfig", "BertForSequenceClassification", SIZES),
    "bert-chooser": ("BertConfig", "BertForMultipleChoice", SIZES),
    "bert-base": ("BertConfig", "BertModel", SIZES),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", SIZES),
    "roberta-tagger": ("RobertaConfig", "RobertaForTokenClassification", SIZES),
    "electra": ("ElectraConfig", "ElectraForMaskedLM", NARROW),
    "electra-wide": ("ElectraConfig", "ElectraForMaskedLM", {**SIZES, "embedding_size": WIDTH}),
    "electra-discriminator": ("ElectraConfig", "ElectraForPreTraining", NARROW),
    "modernbert": ("ModernBertConfig", "ModernBertForMaskedLM", MODERN),
    "modernbert-plain": ("ModernBertConfig", "ModernBertForMaskedLM", PLAIN),
    "modernbert-untied": (
        "ModernBertConfig", "ModernBertForMaskedLM", {**PLAIN, "tie_word_embeddings": False},
    ),
    "modernbert-classifier": ("ModernBertConfig", "ModernBertForSequenceClassification", MODERN),
    "modernbert-tagger": ("ModernBertConfig", "ModernBertForTokenClassification", PLAIN),
    "modernbert-chooser": ("ModernBertConfig", "ModernBertForMultipleChoice", PLAIN),
    "modernbert-base": ("ModernBertConfig", "ModernBertModel", PLAIN),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", GPT2),
    "gpt2-untied": ("GPT2Config", "GPT2LMHeadModel", {**GPT2, "tie_word_embeddings": False}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {**GROUPED, "tie_word_embeddings": True}),
    "llama-untied": ("LlamaConfig", "LlamaForCausalLM", GROUPED),
    "mistral": ("MistralConfig", "MistralForCausalLM", {**HEADED, "sliding_window": 8}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {**GROUPED, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", HEADED),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", {**GROUPED, "eos_token_id": 2}),
    "longformer": ("LongformerConfig", "LongformerForMaskedLM", WINDOWED),
}  # fmt: skip
# One of each architecture.
NAMES = (
    "bert", "roberta", "electra", "longformer", "modernbert", "gpt2", "llama", "mistral", "qwen2",
    "qwen3", "olmo2",
)  # fmt: skip


@functools.cache
def checkpoint(name):
    """The checkpoint; norms and biases are random too, so that nothing is hidden by ones."""
    import torch
    import transformers

    from tilth.models.checkpoint import Checkpoint

    config, kind, settings = MODELS[name]
    torch.manual_seed(len(name))
    model = getattr(transformers, kind)(getattr(transformers, config)(**settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.tie_weights()
    return Checkpoint.of(model.eval())
