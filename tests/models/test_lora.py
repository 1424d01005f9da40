"""LoRA: neutral at the start, trains nothing else, merges, and PEFT reads and writes the same."""

import json

import pytest
import torch

from tilth.errors import DamagedError, DataError, UsageError
from tilth.models.lora import (
    CONFIG,
    WEIGHTS,
    LoRALayer,
    add_lora,
    base_digest,
    load_lora,
    merge_lora,
    remove_lora,
    save_lora,
)
from tilth.testing.architectures import NAMES, checkpoint

IDS = torch.arange(6, 26)[None]
SOME = ["gpt2", "llama", "bert", "bert-classifier", "modernbert-plain", "modernbert-classifier"]


def logits(model):
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def trained(model):
    """Something else than zero in what trains."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_new_is_neutral_and_only_it_trains(name):
    model = checkpoint(name).model()
    before, digest = logits(model), base_digest(model)
    adapter = add_lora(model, rank=4)
    assert torch.equal(logits(model), before)
    assert all(".layer" in n or ".h." in n for n in adapter.modules)
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {f"{n}.{part}" for n in adapter.modules for part in ("down", "up")}
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        model(input_ids=IDS).logits.logsumexp(-1).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    after = logits(model)
    assert (after - before).abs().max() > 1e-3
    assert base_digest(model) == digest
    merged = logits(merge_lora(model))
    assert (merged - after).abs().max() < 1e-5 * max(1, float(after.abs().max()))
    assert not any(isinstance(m, LoRALayer) for m in model.modules())


def test_off_again_bit_for_bit():
    model = checkpoint("gpt2").model()
    before = logits(model)
    add_lora(model, targets=["*.c_attn"])
    trained(model)
    assert not torch.equal(logits(model), before)
    assert torch.equal(logits(remove_lora(model)), before)


# PEFT asks transformers for something by its old name.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", SOME)
def test_folders_load_here_and_in_peft(name, tmp_path):
    model = checkpoint(name).model()
    whole = ["classifier"] if name.endswith("-classifier") else []
    targets = [] if whole else ["*c_attn", "*query", "*_proj", "*Wqkv"]
    adapter = add_lora(model, rank=3, alpha=5, whole=whole, targets=targets)
    wanted = logits(trained(model))
    save_lora(model, adapter, tmp_path)
    again = checkpoint(name).model()
    assert load_lora(again, tmp_path) == adapter
    assert torch.equal(logits(again), wanted)
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'tilth[dev]'")
    theirs = peft.PeftModel.from_pretrained(checkpoint(name).model(), tmp_path).eval()
    assert (logits(theirs) - wanted).abs().max() < 1e-6
    # And the other way: what PEFT wrote.
    theirs.save_pretrained(tmp_path / "theirs")
    back = checkpoint(name).model()
    load_lora(back, tmp_path / "theirs")
    assert (logits(back) - wanted).abs().max() < 1e-6


def test_an_adapter_of_another_scale_is_the_same_function_when_it_is_saved_again(tmp_path):
    model = checkpoint("llama").model()
    adapter = add_lora(model, rank=4, alpha=6)
    trained(model)
    save_lora(model, adapter, tmp_path / "theirs")
    (tmp_path / "theirs" / "manifest.json").unlink()
    config = json.loads((tmp_path / "theirs" / CONFIG).read_text())
    (tmp_path / "theirs" / CONFIG).write_text(json.dumps({**config, "use_rslora": True}))
    found = []
    for name in ("theirs", "again"):
        model = checkpoint("llama").model()
        adapter = load_lora(model, tmp_path / name)
        found.append(logits(model))
        save_lora(model, adapter, tmp_path / "again")
    assert adapter.alpha == 12 and torch.equal(*found)


def test_what_does_not_fit_is_refused(tmp_path):
    model = checkpoint("llama").model()
    with pytest.raises(UsageError, match="no linear layer is called"):
        add_lora(model, targets=["*.wrong"])
    with pytest.raises(UsageError, match="rank 0"):
        add_lora(model, rank=0)
    with pytest.raises(UsageError, match="no adapter"):
        merge_lora(model)
    adapter = add_lora(model)
    with pytest.raises(UsageError, match="already"):
        add_lora(model)
    save_lora(model, adapter, tmp_path)
    with pytest.raises(DataError, match="another base"):
        load_lora(checkpoint("llama-untied").model(), tmp_path)
    with pytest.raises(DataError, match="no linear layer"):
        load_lora(checkpoint("gpt2").model(), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / "manifest.json").unlink()
    (tmp_path / CONFIG).write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(DataError, match="use_dora=True, which is not plain LoRA"):
        load_lora(checkpoint("llama").model(), tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({**config, "r": 4}))
    fresh = checkpoint("llama").model()
    with pytest.raises(DamagedError, match="the model asks for"):
        load_lora(fresh, tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(DataError, match="holds no adapter"):
        load_lora(model, tmp_path)
