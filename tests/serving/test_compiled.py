"""Layers in one call each, beside the same layers operation by operation."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.serving import products
from tilth.serving.compiled import compiled_layers, suits
from tilth.serving.model_runner import ModelRunner, Segment
from tilth.serving.weights import NAMES

WHOLE = {"llama", "mistral", "qwen2", "qwen3"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_few_sequences_get_the_logits_of_each_operation_by_itself(family, count, monkeypatch):
    runner = ModelRunner(tiny.model(family))
    assert (runner._compiled is not None) == (family in WHOLE)
    prompts = tiny.prompts(3, [4 + 3 * (number % 9) for number in range(count)])
    found = {}
    for most in (16, 0):
        monkeypatch.setattr(products, "FEW", {1: most})
        cache = runner.cache(blocks=300, block=4)
        chains = [cache.chain() for _ in prompts]
        first = [Segment(chain, prompt) for chain, prompt in zip(chains, prompts)]
        rows = [runner.forward(cache, first)]
        for token in range(5):
            rows.append(runner.forward(cache, [Segment(chain, [token + 7]) for chain in chains]))
        found[most] = torch.stack(rows)
    assert torch.allclose(found[16], found[0], atol=2e-5)


def test_only_few_last_tokens_on_few_threads():
    runner = ModelRunner(tiny.model("llama"))
    cache = runner.cache(blocks=64, block=4)
    chains = [cache.chain() for _ in range(25)]
    runner.forward(cache, [Segment(chain, [3, 4, 5]) for chain in chains])

    def said(*segments):
        return suits(runner._laid_out(cache, segments))

    one = [Segment(chain, [6]) for chain in chains]
    assert said(*one[:1]) and said(*one)
    assert not said(Segment(chains[0], [6, 7])) and not said(one[0], Segment(chains[1], [6, 7]))
    torch.set_num_threads(2)
    assert said(*one[:24]) and not said(*one)
    torch.set_num_threads(3)
    assert not said(*one[:1])


def test_what_goes_in_is_not_changed_and_other_precisions_have_none():
    model = tiny.model("qwen2")
    runner = ModelRunner(model)
    cache = runner.cache(blocks=9, block=4)
    chain = cache.chain()
    runner.forward(cache, [Segment(chain, [3, 4, 5])])
    embeds = torch.randn(1, runner.shape.width)
    before = embeds.clone()
    runner.forward(cache, [Segment(chain, [6])], embeds=embeds)
    assert torch.equal(embeds, before)
    assert ModelRunner(model, torch.bfloat16)._compiled is None
    assert compiled_layers(ModelRunner(model, torch.bfloat16).weights) is None
