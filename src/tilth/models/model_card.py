"""The README of a saved model, in the form of a model card of Hugging Face: what the weights show.

What the weights do not show (data, licences, evaluation, limits) is said to be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilth.models.configuration import KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def model_card(model: PreTrainedModel) -> str:
    """The text of the card, with the tag of its kind where the class is one of `KINDS`."""
    config = model.config
    name = type(model).__name__
    tag = next((KINDS[kind][2] for kind in KINDS if name in _class_names(kind)), "")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        "---", "library_name: transformers", *([f"pipeline_tag: {tag}"] if tag else []), "---",
        f"# A {config.model_type} model trained with tilth", "",
        f"- parameters: {parameters:,}",
    ]  # fmt: skip
    layers, width = getattr(config, "num_hidden_layers", 0), getattr(config, "hidden_size", 0)
    if layers and width:
        lines.append(f"- layers: {layers}, width: {width}")
    if context := getattr(config, "max_position_embeddings", None):
        lines.append(f"- context: {context:,} tokens")
    lines += [
        f"- vocabulary: {config.vocab_size:,}", "",
        "Data, licences, evaluation and limits: not stated yet. Do not publish before they are.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _class_names(kind: str) -> set[str]:
    import transformers

    names: set[str] = set()
    for value in getattr(transformers, KINDS[kind][0])._model_mapping._model_mapping.values():
        names |= {value} if isinstance(value, str) else set(value)
    return names
