"""`tilth merge`: soups, task vectors and adapters, from folders to a folder."""

import json

import pytest
import torch
import transformers

from tilth import zoo
from tilth.cli.main import run
from tilth.models import decoder
from tilth.models.folder import load_model, save_model
from tilth.models.lora import add_lora, save_lora
from tilth.tokens import bpe

SHAPE = {"vocabulary": 400, "context": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, two models that moved away from it, one of another size, an adapter of the base."""
    folder = tmp_path_factory.mktemp("merge")
    bpe.save(zoo.tiny()[1], folder / "tokenizer")
    models = {"base": zoo.tiny()[0], "wide": decoder.build("80k", **SHAPE)}
    for name, seed in (("one", 1), ("two", 2)):
        torch.manual_seed(seed)
        model = decoder.build("40k", **SHAPE)
        model.load_state_dict(models["base"].state_dict())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.02 * torch.randn_like(parameter)
        models[name] = model
    for name, model in models.items():
        save_model(model, folder / name, folder / "tokenizer")
    adapted = load_model(folder / "base")
    adapter = add_lora(adapted, rank=2)
    with torch.no_grad():
        for name in adapter.modules:
            adapted.get_submodule(name).up.normal_(std=0.05)
    save_lora(adapted, adapter, folder / "adapter")
    with torch.inference_mode():
        torch.save(adapted(input_ids=torch.arange(9)[None]).logits, folder / "adapted.pt")
    return folder


def logits(folder):
    with torch.inference_mode():
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        return model(input_ids=torch.arange(9)[None]).logits


def test_a_soup_is_the_average_and_loads_in_transformers(folder, tmp_path, capsys):
    words = [str(folder / "one"), str(folder / "two"), "-o", str(tmp_path / "out"), "-q"]
    assert run(["merge", *words]) == 0
    assert "linear" in capsys.readouterr().out
    made, one, two = (
        load_model(path).lm_head.weight
        for path in (tmp_path / "out", folder / "one", folder / "two")
    )
    assert torch.allclose(made, (one + two) / 2, atol=1e-7)
    assert logits(tmp_path / "out").shape == (1, 9, 400)
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_a_task_vector_is_added(folder, tmp_path, capsys):
    words = [str(folder / "one"), str(folder / "two"), "--base", str(folder / "base")]
    assert run(["merge", *words, "--weights", "1,0.5", "-o", str(tmp_path / "out"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["method"] == "task-arithmetic" and abs(made["cosine"]) < 0.3
    found, base, one, two = (
        load_model(path).model.norm.weight
        for path in (tmp_path / "out", folder / "base", folder / "one", folder / "two")
    )
    assert torch.allclose(found, base + (one - base) + 0.5 * (two - base), atol=1e-6)
    words = [*words, "--method", "ties", "--set", "density=0.5", "-o", str(tmp_path / "ties")]
    assert run(["merge", *words, "-q"]) == 0


def test_an_adapter_goes_into_its_base_with_equal_logits(folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert run(["merge", str(folder / "adapter"), "--base", str(folder / "base"), "-o", out]) == 0
    assert "matrices changed" in capsys.readouterr().out
    expected = torch.load(folder / "adapted.pt", weights_only=True)
    assert torch.allclose(logits(out), expected, atol=1e-4)
    assert not torch.allclose(logits(folder / "base"), expected, atol=1e-2)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["{f}/one", "{f}/wide"], 1, "num_attention_heads is 1 in one"),
        (["{f}/one", "{f}/nowhere"], 1, "no config.json"),
        (["{f}/one", "{f}/two", "--method", "tie"], 2, "did you mean 'ties'"),
        (["{f}/one", "{f}/two", "--method", "ties"], 2, "needs the base"),
        (["{f}/one", "{f}/two", "--weights", "a,b"], 2, "are no numbers"),
        (["{f}/one", "{f}/two", "--method", "linear", "--weights", "1"], 2, "do not fit"),
        (["{f}/one", "{f}/two", "--set", "densty=1"], 2, "did you mean 'density'"),
        (["{f}/one", "{f}/two", "--set", "density=0.5"], 2, "density has no effect in soup"),
        (
            ["{f}/one", "{f}/two", "--base", "{f}/base", "--set", "scale=2"],
            2,
            "scale has no effect",
        ),
        (
            ["{f}/one", "{f}/two", "--base", "{f}/base", "--method", "ties", "--set", "seed=1"],
            2,
            "seed has no effect in ties",
        ),
        (
            ["{f}/one", "{f}/two", "--base", "{f}/base", "--method", "ties", "--weights", "1,-1"],
            2,
            "weights of ties are not below 0",
        ),
        (
            ["{f}/adapter", "--base", "{f}/base", "--tokenizer", "{f}/base"],
            2,
            "tokenizer has no effect with an adapter",
        ),
        (["{f}/adapter"], 2, "goes alone into its base"),
        (["{f}/adapter", "--base", "{f}/one"], 1, "another base"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(
    folder, tmp_path, capsys, words, code, says
):
    out = tmp_path / "never"
    assert run(["merge", *(word.format(f=folder) for word in words), "-o", str(out), "-q"]) == code
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1 and not out.exists()


def test_a_result_never_overwrites(folder, capsys):
    words = [str(folder / "one"), str(folder / "two"), "-o", str(folder / "base"), "-q"]
    assert run(["merge", *words]) == 1
    assert "is there already" in capsys.readouterr().err
