"""The runner's logits are those of transformers, however its rows are made up."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import DataError, LimitError, UsageError
from tilth.serving.model_runner import ModelRunner, Segment
from tilth.serving.weights import refusal


def run_in_pieces(runner, cache, sequences, seed):
    """All sequences through rows of random make-up: the logits of every token."""
    draw = np.random.default_rng(seed)
    chains = [cache.chain() for _ in sequences]
    found = [[] for _ in sequences]
    while open_ := [i for i, s in enumerate(sequences) if chains[i].length < len(s)]:
        chosen = [i for i in open_ if draw.random() < 0.7] or open_[:1]
        segments = []
        for i in draw.permutation(chosen).tolist():
            at = chains[i].length
            ids = sequences[i][at : at + int(draw.choice([1, 1, 2, 5, 9]))]
            segments.append((i, Segment(chains[i], ids, want=len(ids))))
        rows = runner.forward(cache, [segment for _, segment in segments])
        for i, segment in segments:
            found[i].append(rows[: len(segment.ids)])
            rows = rows[len(segment.ids) :]
    return [torch.cat(rows) for rows in found], chains


@pytest.mark.parametrize("keys", ["turned", "plain"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_logits_are_those_of_transformers(name, keys, device, agreement):
    model = tiny.model(name, device)
    runner = ModelRunner(model)
    cache = runner.cache(blocks=60, block=4, keys=keys)
    sequences = tiny.prompts(1, (23, 9, 9, 9, 1, 40))
    found, chains = run_in_pieces(runner, cache, sequences, seed=3)
    for ids, rows in zip(sequences, found):
        agreement.logits("as transformers", rows.cpu(), tiny.logits(model, ids))
    for chain in chains:
        cache.free(chain)
    assert cache.table.free == cache.table.total


@pytest.mark.parametrize("name", tiny.MODELS)
def test_logits_are_the_same_in_64_bits(name, agreement):
    # No compiled loops and no packed matrices: what other devices run, without their rounding. The
    # norms of transformers are in 32 bits, whatever the model is.
    model = tiny.model(name, dtype="float64")
    runner = ModelRunner(model)
    assert runner.dtype == torch.float64
    sequences = tiny.prompts(1, (23, 9, 9, 9, 1, 40))
    found, _ = run_in_pieces(runner, runner.cache(blocks=60, block=4), sequences, seed=4)
    for ids, rows in zip(sequences, found):
        agreement.logits("in 64 bits", rows, tiny.logits(model, ids).float(), 1e-5)


def test_wider_models_are_as_near(device, agreement):
    # Sums as long as in models that are used: products of other shapes round otherwise.
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=600, hidden_size=512, intermediate_size=768, num_hidden_layers=2,
        num_attention_heads=8, num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config).eval().to(device)
    runner = ModelRunner(model)
    sequences = tiny.prompts(1, (70, 17, 17, 2))
    found, _ = run_in_pieces(runner, runner.cache(blocks=60, block=4), sequences, seed=5)
    for ids, rows in zip(sequences, found):
        agreement.logits("as transformers, wider", rows.cpu(), tiny.logits(model, ids))


def test_equal_lengths_side_by_side_are_read_in_place():
    model = tiny.model("qwen2")
    runner = ModelRunner(model)
    cache = runner.cache(blocks=24, block=4)
    sequences = tiny.prompts(2, (8, 8, 8))
    chains = [cache.chain() for _ in sequences]
    for chain in chains:
        cache.reserve(chain, 7, ahead=9)
    runner.forward(cache, [Segment(c, ids[:7]) for c, ids in zip(chains, sequences)])
    rows = runner.forward(cache, [Segment(c, ids[7:]) for c, ids in zip(chains, sequences)])
    expected = torch.stack([tiny.logits(model, ids)[-1] for ids in sequences])
    assert torch.allclose(rows, expected, atol=1e-4)


def test_hidden_states_and_embeddings():
    model = tiny.model("llama")
    runner = ModelRunner(model)
    (ids,) = tiny.prompts(4, (6,))
    cache = runner.cache(blocks=8, block=4)
    first, second = (Segment(cache.chain(), part, want=0) for part in (ids[:1], ids))
    second = Segment(second.chain, ids, want=6)
    embeds = model.get_input_embeddings().weight.detach()[torch.tensor([ids[0], *ids])]
    states = runner.forward(cache, [first, second], embeds=embeds, states=True)
    with torch.inference_mode():
        expected = model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    assert torch.allclose(states, expected, atol=1e-4)


def test_rows_written_anew_see_what_stands_before_them():
    model = tiny.model("olmo2")
    runner = ModelRunner(model)
    cache = runner.cache(blocks=8, block=4)
    (ids,) = tiny.prompts(5, (12,))
    chain = cache.chain()
    runner.forward(cache, [Segment(chain, [1] * 3 + ids[3:])])
    # The first tokens were other ones: all from there on are read again.
    rows = runner.forward(cache, [Segment(chain, ids, want=12, at=range(12))])
    assert torch.allclose(rows, tiny.logits(model, ids), atol=1e-4)
    assert chain.length == 12 and chain.edited


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_bfloat16_is_near(name, device, agreement):
    runner = ModelRunner(tiny.model(name, device), torch.bfloat16)
    cache = runner.cache(blocks=20, block=4)
    (ids,) = tiny.prompts(6, (60,))
    rows = runner.forward(cache, [Segment(cache.chain(), ids, want=60)]).cpu()
    likeliest = tiny.logits(tiny.model(name, device), ids).argmax(-1).tolist()
    equal = [
        agreement.share("bf16, as in float32", found, expected)
        for found, expected in zip(rows.argmax(-1).tolist(), likeliest)
    ]
    assert sum(equal) > 0.9 * 60


def test_what_is_not_known_is_refused():
    import transformers

    config = transformers.GPTNeoXConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=16,
    )  # fmt: skip
    strange = transformers.GPTNeoXForCausalLM(config)
    assert "gpt_neox" in refusal(strange)
    with pytest.raises(DataError, match="no decoder of its own"):
        ModelRunner(strange)
    changed = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **{**tiny.SIZES, "vocab_size": 50}, rope_parameters={"rope_type": "dynamic",
            "rope_theta": 1e4, "factor": 2.0}
        )
    )  # fmt: skip
    assert "dynamic" in refusal(changed)
    adapted = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**{**tiny.SIZES, "vocab_size": 50})
    )
    adapted.model.layers[0].self_attn.extra = torch.nn.Linear(2, 2)
    assert "extra" in refusal(adapted)


def test_mistakes_are_errors_and_change_nothing():
    runner = ModelRunner(tiny.model("llama"))
    cache = runner.cache(blocks=2, block=4)
    chain = cache.chain()
    with pytest.raises(UsageError, match="one segment"):
        runner.forward(cache, [Segment(chain, [1]), Segment(chain, [2])])
    with pytest.raises(UsageError, match="without tokens"):
        runner.forward(cache, [Segment(chain, [])])
    with pytest.raises(LimitError, match="blocks"):
        runner.forward(cache, [Segment(chain, [1] * 9)])
    assert chain.length == 0 and cache.table.free == 2
    # Room for the first and not for the second: neither has taken any.
    with pytest.raises(LimitError, match="blocks"):
        runner.forward(cache, [Segment(chain, [1] * 5), Segment(cache.chain(), [1])])
    assert chain.length == 0 and cache.table.free == 2 and not chain.blocks
