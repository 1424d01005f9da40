"""Architectures that the engine has no decoder for: with a cache of their own, and without."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from agreement import NEAR
from served import GREEDY, SAMPLED, serve

from tilth.errors import UsageError
from tilth.serving.engine import Engine
from tilth.serving.fallback import CONTEXT
from tilth.serving.model_runner import Segment
from tilth.serving.sampler import Sampling, draw, penalised, probabilities, uniform
from tilth.serving.scheduler import POLICIES

SIZES = {"vocab_size": 280, "hidden_size": 16, "num_hidden_layers": 2, "bos_token_id": 0,
         "eos_token_id": 0}  # fmt: skip
MODELS = {
    "gpt_neox": (
        "GPTNeoXForCausalLM",
        {"intermediate_size": 16, "num_attention_heads": 2, "max_position_embeddings": 64},
    ),
    # Its state is no cache of keys: each token reads the whole sequence.
    "mamba": ("MambaForCausalLM", {"state_size": 4, "time_step_rank": 4, "use_mambapy": False}),
}
NAMES = [*MODELS, "whole", "bare"]


@pytest.fixture(scope="module")
def models():
    import transformers

    class Whole(transformers.GPTNeoXForCausalLM):
        """Keeps a cache, and gives the logits of all tokens, wanted or not."""

        def forward(self, input_ids, past_key_values=None, use_cache=None):
            return super().forward(input_ids, past_key_values=past_key_values, use_cache=use_cache)

    class Bare(transformers.GPTNeoXForCausalLM):
        """Keeps nothing, whatever it is told, and gives all logits."""

        def forward(self, input_ids, **_others):
            return super().forward(input_ids, use_cache=False)

    kinds = {name: (getattr(transformers, kind), more) for name, (kind, more) in MODELS.items()}
    for name, kind in (("whole", Whole), ("bare", Bare)):
        kinds[name] = kind, MODELS["gpt_neox"][1]
    return {
        name: tiny.random_weights(kind, kind.config_class(**SIZES, **more), seed=1)
        for name, (kind, more) in kinds.items()
    }


def rows_of(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([list(ids)])).logits[0]


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_those_of_transformers_without_a_batch(name, models, agreement):
    model = models[name]
    prompts = tiny.prompts(5, (9, 3, 20))
    asked = [(prompt, how) for prompt in prompts for how in (GREEDY, SAMPLED[1])]
    one = Engine(model, tiny.tokenizer(), row=8, sequences=6, blocks=10, block=3)
    kind = model.config.model_type
    assert f"{kind} models" in one.note and "without paging and prefix sharing" in one.note
    served = serve(one, asked, tokens=6)
    # Chunks of eight tokens, and blocks that are counted and run out; nothing is found again.
    assert served.preempted and served.cut and not served.found
    for (prompt, how), ids in zip(asked, served.ids):
        rows = rows_of(model, [*prompt, *ids])[len(prompt) - 1 : -1].numpy()
        for at, row in enumerate(rows):
            chances = penalised(row, how, prompt, ids[:at])
            near = bool(torch.tensor(chances).topk(2).values.diff().abs() < NEAR)
            expected = int(chances.argmax())
            if how != GREEDY:
                number, near = uniform(how.seed, at, how.sample), False
                expected = draw(probabilities(chances, how), number)
            agreement.step("without a decoder, as transformers", ids[at], expected, near)
    numbers = [(how.seed, how.sample, at) for _, how in asked if how != GREEDY for at in range(6)]
    assert [drawn[:3] for drawn in served.drawn] == sorted(numbers)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves_it(policy, models):
    asked = [(prompt, GREEDY) for prompt in tiny.prompts(6, (12, 4, 7))]
    expected = serve(Engine(models["whole"], tiny.tokenizer()), asked, tokens=4)
    one = Engine(models["whole"], tiny.tokenizer(), policy=policy, row=6, sequences=3, blocks=8,
                 block=3)  # fmt: skip
    assert serve(one, asked, tokens=4).ids == expected.ids


@pytest.mark.parametrize("name", NAMES)
def test_all_logits_that_are_wanted_come(name, models):
    runner = Engine(models[name], tiny.tokenizer()).runner
    cache = runner.cache(blocks=9, block=4)
    first, second = tiny.prompts(7, (11, 6))
    chains = [cache.chain(), cache.chain()]
    runner.forward(cache, [Segment(chains[0], first[:3], want=0)])
    assert (chains[0].past is None) == (name in ("mamba", "bare"))
    rows = runner.forward(
        cache, [Segment(chains[0], first[3:], want=5), Segment(chains[1], second, want=6)]
    )
    expected = torch.cat((rows_of(models[name], first)[-5:], rows_of(models[name], second)))
    assert torch.allclose(rows, expected, atol=1e-4)
    cache.free(chains[0])
    (again,) = runner.forward(cache, [Segment(chains[0], second)])
    assert torch.allclose(again, expected[-1], atol=1e-4)
    with pytest.raises(UsageError, match="own decoders"):
        runner.forward(cache, [Segment(chains[1], [1], at=[0])])


def test_scores_come_without_a_decoder(models):
    for name in NAMES:
        (prompt,) = tiny.prompts(8, (14,))
        one = Engine(models[name], tiny.tokenizer(), row=5, sequences=2)
        (found,) = one.complete([prompt], 0, scores=True)
        rows = torch.log_softmax(rows_of(models[name], prompt), -1)
        expected = rows[range(13), prompt[1:]]
        assert torch.allclose(torch.tensor([t.logprob for t in found.prompt]), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["Phi3ForCausalLM", "LlamaForCausalLM"])
def test_positions_that_turn_otherwise_in_long_sequences(kind):
    """Both where the prompt is longer than that, in rows of less, and where the answer grows to
    it: all tokens are those of a reading of the whole sequence."""
    import transformers

    maker = getattr(transformers, kind)
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4,
            "long_factor": [1.5, 3.0, 6.0, 9.0], "original_max_position_embeddings": 16,
            "factor": 4.0}  # fmt: skip
    config = maker.config_class(
        **SIZES, intermediate_size=16, num_attention_heads=2, max_position_embeddings=64,
        rope_parameters=rope, pad_token_id=None,
    )  # fmt: skip
    model = tiny.random_weights(maker, config, seed=2)
    engine = Engine(model, tiny.tokenizer(), row=8, sequences=2, block=4)
    prompts = tiny.prompts(4, [40, 12])
    sampling = Sampling(temperature=0, ignore_end=True, logprobs=0)
    for prompt, one in zip(prompts, engine.complete(prompts, 10, sampling, scores=True)):
        assert one.reason == "length", one.detail
        whole = tiny.logits(model, prompt).log_softmax(-1)
        expected = [float(whole[at, id]) for at, id in enumerate(prompt[1:])]
        assert [drawn.logprob for drawn in one.prompt] == pytest.approx(expected, abs=1e-4)
        for at, drawn in enumerate(one.tokens):
            row = tiny.logits(model, [*prompt, *one.ids[:at]])[-1].log_softmax(-1)
            assert drawn.logprob == pytest.approx(float(row[drawn.id]), abs=1e-4)
            assert float(row.max() - row[drawn.id]) < 1e-3


def test_the_callers_model_stays_as_it_was(models):
    model = models["gpt_neox"]
    (prompt,) = tiny.prompts(9, (7,))
    expected = Engine(model, tiny.tokenizer()).complete([prompt], 4, GREEDY)[0].ids
    model.train()
    try:
        one = Engine(model, tiny.tokenizer())
        assert model.training and not one.runner.model.training
        assert one.complete([prompt], 4, GREEDY)[0].ids == expected
        assert model.training
    finally:
        model.eval()
    with pytest.raises(UsageError, match=r"of float32.*bfloat16 was asked for"):
        Engine(model, tiny.tokenizer(), dtype="bfloat16")


def test_a_model_without_a_longest_sequence_has_none():
    import transformers

    config = transformers.XLNetConfig(vocab_size=280, d_model=16, n_layer=1, n_head=2, d_inner=16)
    assert config.max_position_embeddings == -1
    one = Engine(tiny.random_weights(transformers.XLNetLMHeadModel, config, seed=1),
                 tiny.tokenizer())  # fmt: skip
    assert one.context == CONTEXT
