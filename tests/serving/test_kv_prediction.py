"""Predicted caches: the identity is exact, learning comes nearer, and the base stays as it is."""

import copy
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import DamagedError, DataError, UsageError
from tilth.models.checkpoint import Checkpoint
from tilth.models.kv_maps import KVMaps, layer_map, recorded, replaced
from tilth.models.surgery.layers import truncate
from tilth.objectives.kv_prediction import KVPrediction
from tilth.serving.edits.kv_prediction import Predictor, Reader
from tilth.serving.edits.reading import read
from tilth.serving.engine import Engine
from tilth.serving.model_runner import ModelRunner
from tilth.training.loop import fit
from tilth.zoo import tiny as tiny_zoo

NAMES = ["llama", "llama-yarn", "mistral", "qwen2", "qwen3", "olmo2"]


def test_the_paper_s_layer_map():
    expected = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 13,
                14, 15]  # fmt: skip
    assert layer_map(28, 16) == expected
    assert layer_map(4, 4) == [0, 1, 2, 3] and layer_map(7, 2) == [0, 0, 0, 0, 1, 1, 1]
    with pytest.raises(UsageError):
        layer_map(2, 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_identity_is_a_full_reading(name):
    model = tiny.model(name)
    runner = ModelRunner(model)
    cache = runner.cache(60, 4, share=False)
    ids = tiny.prompts(1, (40,))[0]
    maps = KVMaps.between(model, model)
    found = Predictor(runner, ModelRunner(model), maps).read(cache, ids)
    fresh = read(runner, cache, ids)
    a, b = (cache.slice(one.chain) for one in (found, fresh))
    assert torch.allclose(a.keys, b.keys, atol=1e-5)
    assert torch.allclose(a.values, b.values, atol=1e-5)
    assert torch.allclose(found.logits, fresh.logits, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_what_training_sees_is_what_the_cache_holds(name):
    model = tiny.model(name)
    runner = ModelRunner(model)
    cache = runner.cache(60, 4)
    ids = tiny.prompts(2, (20,))[0]
    with torch.no_grad(), recorded(model) as seen:
        expected = model(input_ids=torch.tensor([ids]), use_cache=False).logits
    held = cache.slice(read(runner, cache, ids).chain)
    for layer, (key, value) in enumerate(seen):
        assert torch.allclose(held.keys[layer].flatten(1), key[0], atol=1e-4)
        assert torch.allclose(held.values[layer].flatten(1), value[0], atol=1e-4)
    with torch.no_grad(), replaced(model, seen):
        again = model(input_ids=torch.tensor([ids]), use_cache=False).logits
    assert torch.equal(again, expected)
    with torch.no_grad(), replaced(model, [(key * 0, value * 0) for key, value in seen]):
        none = model(input_ids=torch.tensor([ids]), use_cache=False).logits
    assert not torch.allclose(none, expected)
    assert not any(module._forward_hooks for module in model.modules())


def test_training_comes_nearer_and_leaves_the_base(tmp_path):
    base, tokenizer, documents = (copy.deepcopy(one) for one in tiny_zoo("causal"))
    before = {name: one.clone() for name, one in base.state_dict().items()}
    auxiliary = truncate(Checkpoint.of(base), layers=[0]).model()
    objective = KVPrediction(base, auxiliary, length=32)
    history = fit(
        auxiliary, objective, documents, tokens=20 * 256, batch_tokens=256, learning_rate=3e-3
    )
    assert history.points[-1].loss < history.points[0].loss
    assert all(torch.equal(one, before[name]) for name, one in base.state_dict().items())
    assert all(one.grad is None for one in base.parameters())
    objective.maps.save(tmp_path / "maps.safetensors")
    maps = KVMaps.load(tmp_path / "maps.safetensors")
    assert maps.layers == [0, 0]
    engine = Engine(base, tokenizer)
    reader = Reader(engine, auxiliary, tmp_path / "maps.safetensors")
    prompt = "Return the value"
    wrote = reader.write(prompt, tokens=5, temperature=0)
    assert wrote == Reader(engine, auxiliary, maps).write(prompt, tokens=5, temperature=0)
    assert reader.desk.cache.table.free == reader.desk.cache.table.total
    exact = Reader(engine, base, KVMaps.between(base, base))
    assert (
        exact.write(prompt, tokens=8, temperature=0)
        == engine.generate([prompt], tokens=8, temperature=0)[0]
    )


def test_what_does_not_fit_is_refused(tmp_path):
    model, other = tiny.model("llama"), tiny.model("qwen3")
    runner = ModelRunner(model)
    with pytest.raises(DataError):
        Predictor(runner, runner, KVMaps([0, 0], 8, 8))
    with pytest.raises(UsageError):
        KVMaps.between(tiny.model("gpt2"), model)
    with pytest.raises(UsageError):
        KVMaps.between(model, model, [0, 5])
    with pytest.raises(DataError):
        KVPrediction(tiny_zoo("causal")[0], model)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "x")
    with pytest.raises(DamagedError):
        KVMaps.load(tmp_path / "x")
    maps = KVMaps.between(other, model)
    assert maps.sizes == (32, 16)
