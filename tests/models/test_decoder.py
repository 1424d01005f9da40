import json
import math

import pytest
import torch

from tilth.errors import DamagedError, DataError, UsageError
from tilth.models import decoder
from tilth.store.manifest import verify
from tilth.testing.faults import tree
from tilth.tokens import bpe


@pytest.fixture(scope="module")
def model():
    return decoder.build("22k", vocabulary=300, context=32, seed=1)


@pytest.mark.parametrize("vocabulary", [300, 2048, 4096, 8192, 32_000])
@pytest.mark.parametrize("size", ["0.5m", "1m", "2m", "4m", "30m"])
def test_the_dial_gives_about_that_many_parameters(size, vocabulary):
    if vocabulary * decoder.HEAD > 1.2 * decoder.parse_size(size):
        with pytest.raises(UsageError, match="nearest"):
            decoder.shape_of(size, vocabulary)
        return
    width, layers = decoder.shape_of(size, vocabulary)
    made = decoder.parameters_of(width, layers, vocabulary)
    assert abs(made / decoder.parse_size(size) - 1) <= 0.25
    assert width % decoder.HEAD == 0 and layers >= 1


@pytest.mark.parametrize(("vocabulary", "size"), [(300, "22k"), (512, "57k"), (300, 210_000)])
def test_parameters_are_counted_as_the_formula_says(vocabulary, size):
    model = decoder.build(size, vocabulary=vocabulary, context=16)
    expected = decoder.parameters_of(*decoder.shape_of(size, vocabulary), vocabulary)
    assert decoder.count_parameters(model) == expected
    assert decoder.flops_per_token(model, 0) == 6 * expected
    model.model.norm.weight.requires_grad = False
    width = model.config.hidden_size
    assert decoder.count_parameters(model, trainable=True) == expected - width


@pytest.mark.parametrize("size", ["", "0", "big", "1x", "-1m", "1e6"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(UsageError, match="not a size"):
        decoder.parse_size(size)


def test_sizes_are_read():
    sizes = ["0.5m", "500k", 500_000, "500000", "0.0005B"]
    assert {decoder.parse_size(size) for size in sizes} == {500_000}


def test_the_seed_decides_the_weights_and_nothing_else_changes():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (decoder.build("22k", vocabulary=300, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters()))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)
    assert not one.training


def test_spread_out_matrices_keep_the_size_of_what_they_multiply():
    model = decoder.build("100k", vocabulary=300, seed=1, spread=0.5)
    usual = decoder.build("100k", vocabulary=300, seed=1)
    pairs = zip(model.named_parameters(), usual.parameters())
    for name, made, old in ((name, one.detach(), two.detach()) for (name, one), two in pairs):
        if made.dim() == 1:
            assert torch.equal(made, old)
            continue
        wanted = (1.0 if "embed" in name else 0.5) * made.shape[1] ** -0.5
        assert float(made.std()) == pytest.approx(wanted, rel=1e-3)
        torch.testing.assert_close(made / made.std(), old / old.std())


def test_a_fresh_model_guesses_evenly_and_sees_only_the_past(model):
    ids = torch.arange(20)[None] % 7
    with torch.inference_mode():
        logits = model(input_ids=ids).logits
        changed = ids.clone()
        changed[0, 12:] += 1
        again = model(input_ids=changed).logits
    chances = logits.softmax(-1)
    assert abs(chances.log().mean().item() + math.log(300)) < 0.2
    assert torch.allclose(logits[0, :12], again[0, :12], atol=1e-5)
    assert not torch.allclose(logits[0, 12:], again[0, 12:], atol=1e-3)


def test_a_saved_model_is_loaded_here_and_by_transformers(model, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    bpe.save(bpe.train(["abc abc"], 257), tmp_path / "tokenizer")
    decoder.save(model, tmp_path / "one", tmp_path / "tokenizer")
    verify(tmp_path / "one")
    loaded = decoder.load(tmp_path / "one")
    decoder.save(loaded, tmp_path / "two", tmp_path / "tokenizer")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    decoder.save(loaded, tmp_path / "two", tmp_path / "tokenizer")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    assert AutoTokenizer.from_pretrained(tmp_path / "one").eos_token == bpe.END
    ids = torch.arange(30)[None]
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        assert torch.equal(loaded(input_ids=ids).logits, expected)
        assert torch.equal(theirs(input_ids=ids).logits, expected)
    for tied in (loaded, theirs):
        assert tied.lm_head.weight.data_ptr() == tied.model.embed_tokens.weight.data_ptr()
    text = (tmp_path / "one" / "config.json").read_text()
    assert str(tmp_path) not in text and json.loads(text)["architectures"] == ["LlamaForCausalLM"]


def test_untied_models_keep_both_embeddings(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=1, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    decoder.save(model, tmp_path)
    ids = torch.arange(10)[None]
    with torch.inference_mode():
        assert torch.equal(decoder.load(tmp_path)(input_ids=ids).logits, model(ids).logits)
    assert decoder.flops_per_token(model, 0) == 6 * (decoder.count_parameters(model) - 50 * 8)


def test_what_is_no_model_or_not_safe_is_refused(model, tmp_path):
    with pytest.raises(DataError, match=r"config\.json"):
        decoder.load(tmp_path)
    decoder.save(model, tmp_path / "damaged")
    weights = tmp_path / "damaged" / decoder.WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DamagedError, match="manifest"):
        decoder.load(tmp_path / "damaged")
    (tmp_path / "damaged" / "manifest.json").unlink()
    assert decoder.load(tmp_path / "damaged") is not None
    index = tmp_path / "damaged" / f"{decoder.WEIGHTS}.index.json"
    for name, message in (("../x.safetensors", "as weights"), ("x.bin", "as weights"),
                          ("x.safetensors", "is missing")):  # fmt: skip
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(DamagedError, match=message):
            decoder.load(tmp_path / "damaged")
    index.unlink()
    weights.write_bytes(data[:-4])
    with pytest.raises(DamagedError, match="tensors take"):
        decoder.load(tmp_path / "damaged")
    weights.rename(tmp_path / "damaged" / "pytorch_model.bin")
    with pytest.raises(DataError, match="pickled"):
        decoder.load(tmp_path / "damaged")


def test_weights_that_are_not_there_are_not_made_up(model, tmp_path):
    from safetensors.torch import load_file, save_file

    decoder.save(model, tmp_path)
    (tmp_path / "manifest.json").unlink()
    tensors = load_file(tmp_path / decoder.WEIGHTS)
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / decoder.WEIGHTS, {"format": "pt"})
    with pytest.raises(DamagedError, match=r"no weights for model\.norm\.weight"):
        decoder.load(tmp_path)


def test_code_in_a_folder_is_never_run(model, tmp_path):
    decoder.save(model, tmp_path)
    (tmp_path / "manifest.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_type"] = "strange"
    config["auto_map"] = {
        "AutoConfig": "code.Config",
        "AutoModelForCausalLM": "code.Model",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(DamagedError, match="cannot be loaded"):
        decoder.load(tmp_path)
    assert not (tmp_path / "ran").exists()
