"""Checkpoints: the same model again, digests, what does not fit is refused; all axes."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tilth.errors import DataError
from tilth.models.axes import axes_of, layouts
from tilth.models.checkpoint import Checkpoint, untie
from tilth.models.surgery.promise import logit_difference
from tilth.testing.architectures import MODELS, checkpoint


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_bit_for_bit(name, tmp_path):
    made = checkpoint(name)
    again = Checkpoint.of(made.model())
    assert again.digest == made.digest and logit_difference(made, again) == 0
    made.save(tmp_path)
    loaded = Checkpoint.load(tmp_path)
    assert loaded.architecture == made.architecture
    assert {n: t.tolist() for n, t in loaded.tensors.items()} == {
        n: t.tolist() for n, t in made.tensors.items()
    }
    assert logit_difference(made, loaded) == 0


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_has_axes_of_its_sizes(name):
    made = checkpoint(name)
    axes = axes_of(made)
    assert set(axes) == set(made.tensors)
    assert all(len(axes[n]) == t.dim() for n, t in made.tensors.items())
    for n, layout in layouts(made).items():
        # What sums over its input is a matrix of a layer, a projection or a head.
        assert (layout.sums_over is not None) == (
            made.tensors[n].dim() == 2 and "embed" not in n.replace("embeddings_project", "")
            and not n.endswith(("wte.weight", "wpe.weight"))
        ), n  # fmt: skip
    assert {layout.layer for layout in layouts(made).values()} == {None, 0, 1}


def test_conv1d_is_the_other_way_round():
    assert axes_of(checkpoint("gpt2"))["transformer.h.1.attn.c_attn.weight"] == ("residual", "qkv")
    assert axes_of(checkpoint("olmo2"))["model.layers.0.self_attn.q_norm.weight"] == ("heads",)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "electra"])
def test_untie_keeps_the_logits(name):
    made = untie(checkpoint(name))
    assert not made.config.tie_word_embeddings
    assert len(made.tensors) > len(checkpoint(name).tensors)
    assert logit_difference(checkpoint(name), made) == 0
    assert untie(made).digest == made.digest


def test_what_is_unknown_is_refused_by_name():
    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20}
    with pytest.raises(DataError, match=r"T5ForConditionalGeneration .*known: bert, electra"):
        Checkpoint.of(T5ForConditionalGeneration(T5Config(**small)))
    made = checkpoint("llama")
    with pytest.raises(DataError, match=r"tensor 'model\.extra' of LlamaForCausalLM has no axes"):
        axes_of(made.with_({**made.tensors, "model.extra": torch.zeros(2)}))


def test_sizes_that_do_not_fit_are_refused():
    made = checkpoint("llama")
    name = "model.layers.0.mlp.up_proj.weight"
    wrong = made.with_({**made.tensors, name: torch.zeros(47, 32)})
    with pytest.raises(DataError, match="the size 47 x 32, its axes say ffn 48 x residual 32"):
        axes_of(wrong)
    with pytest.raises(DataError, match=r"has the size \(47, 32\)"):
        wrong.model()
    with pytest.raises(DataError, match=r"lacks tensor 'model\.norm\.weight'"):
        made.with_({n: t for n, t in made.tensors.items() if n != "model.norm.weight"}).model()
    with pytest.raises(DataError, match="has no place for tensor"):
        made.with_({**made.tensors, "model.norm.bias": torch.zeros(32)}).model()


def test_a_checkpoint_shares_no_memory():
    made = checkpoint("llama")
    before = made.digest
    model = made.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert made.digest == before
    copy = Checkpoint.of(model)
    with torch.no_grad():
        model.model.norm.weight += 1
    assert copy.tensors["model.norm.weight"].abs().max() == 0
