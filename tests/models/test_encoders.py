import copy

import pytest
import torch

from tilth.errors import UsageError
from tilth.models import encoders
from tilth.models.decoder import count_parameters, parse_size
from tilth.models.folder import load_model, save_model
from tilth.models.packed import forward


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_the_dial_gives_about_that_many_parameters_and_the_formula_counts_them(kind):
    for size, vocabulary in (("60k", 400), ("0.5m", 2048), ("4m", 4096)):
        width, layers = encoders.shape_of(size, kind, vocabulary, 64)
        expected = encoders.parameters_of(kind, width, layers, vocabulary, 64)
        assert abs(expected / parse_size(size) - 1) <= 0.25
    made = encoders.build_encoder("60k", vocabulary=400, context=64, kind=kind, pad=1)
    width, layers = encoders.shape_of("60k", kind, 400, 64)
    assert count_parameters(made) == encoders.parameters_of(kind, width, layers, 400, 64)


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_an_encoder_sees_both_ways_and_comes_back_from_its_folder(kind, tmp_path):
    model = encoders.build_shape(32, 1, vocabulary=300, context=16, kind=kind, pad=1, seed=3)
    ids = torch.arange(3, 19)[None]
    with torch.inference_mode():
        logits = model(input_ids=ids).logits
        changed = ids.clone()
        changed[0, -1] += 1
        again = model(input_ids=changed).logits
    assert not torch.equal(logits[0, 0], again[0, 0])
    save_model(model, tmp_path)
    head = {"electra": "discriminate", "modernbert-detector": "tag"}.get(kind, "masked")
    loaded = load_model(tmp_path, head)
    with torch.inference_mode():
        assert torch.equal(loaded(input_ids=ids).logits, logits)


def test_the_seed_decides_the_weights():
    one, same, other = (
        encoders.build_encoder("60k", vocabulary=400, context=64, seed=seed) for seed in (1, 1, 2)
    )
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters()))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_settings_near_make_every_other_layer_local():
    model = encoders.build_shape(
        32, 2, vocabulary=300, context=16, kind="modernbert", pad=1, settings=encoders.NEAR
    )
    assert model.config.layer_types == ["full_attention", "sliding_attention"]
    assert {one["rope_theta"] for one in model.config.rope_parameters.values()} == {100.0}
    ids = torch.arange(3, 19)[None]
    with torch.inference_mode():
        packed = forward(model, ids)
        torch.testing.assert_close(packed, model(input_ids=ids).logits, atol=1e-5, rtol=0)


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="did you mean 'roberta'"):
        encoders.build_encoder("1m", vocabulary=400, kind="robert")
    with pytest.raises(UsageError, match="the nearest has"):
        encoders.build_encoder("10k", vocabulary=4096)
    with pytest.raises(UsageError, match="multiple of 32"):
        encoders.build_shape(40, 1, vocabulary=400)


def test_tiny_models_are_made_once_and_fit_their_text():
    from tilth import zoo
    from tilth.tokens.bpe import END, MASK, PAD

    for kind, name in (("causal", "LlamaForCausalLM"), ("masked", "ModernBertForMaskedLM"),
                       ("electra", "ElectraForPreTraining")):  # fmt: skip
        model, tokenizer, documents = zoo.tiny(kind)
        assert zoo.tiny(kind)[0] is model and type(model).__name__ == name
        assert model.config.vocab_size == documents.vocabulary == 400
        assert [tokenizer.token_to_id(token) for token in (END, PAD, MASK)] == [0, 1, 2]
        assert copy.deepcopy(model) is not model
    assert len(documents) > 200 and documents.total_tokens > 50_000
    with pytest.raises(UsageError, match="causal"):
        zoo.tiny("casual")
