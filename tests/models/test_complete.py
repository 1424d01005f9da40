import pytest
import torch

from tilth.errors import LimitError, UsageError
from tilth.models import decoder
from tilth.models.complete import complete, sample
from tilth.tokens import bpe


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(["one two three four five six seven"] * 3, 280)


@pytest.fixture(scope="module")
def model(tokenizer):
    return decoder.build("22k", vocabulary=tokenizer.get_vocab_size(), context=48, seed=3)


def slow(model, tokenizer, prompt, count, **options):
    """The same without a cache: the whole text is read again for each token."""
    ids = [0, *bpe.encode(tokenizer, [prompt])[0]]
    generator = torch.Generator().manual_seed(options.pop("seed", 0))
    found = []
    with torch.inference_mode():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([ids + found]), use_cache=False).logits[:, -1]
            token = int(sample(logits, options["temperature"], options["top_k"], generator))
            if token == 0:
                break
            found.append(token)
    return bpe.decode(tokenizer, found)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("prompt", ["", "one two"])
def test_the_cache_changes_nothing(model, tokenizer, prompt, temperature):
    options = {"temperature": temperature, "top_k": 20, "seed": 4}
    made = complete(model, tokenizer, prompt, 12, **options)
    assert made == slow(model, tokenizer, prompt, 12, **options)
    assert made == complete(model, tokenizer, prompt, 12, **options)


def test_seeds_differ_and_the_callers_random_state_stays(model, tokenizer):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    made = {complete(model, tokenizer, "one", 10, temperature=1.0, seed=seed) for seed in range(4)}
    assert len(made) > 1
    assert torch.equal(before, torch.get_rng_state())


def test_samples_have_the_chances_of_the_formula():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(20_000, 1)
    drawn = sample(logits, 0.5, 3, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=4) / len(drawn)
    expected = torch.cat([torch.softmax(torch.tensor([4.0, 2.0, 0.0]), 0), torch.zeros(1)])
    assert torch.allclose(share, expected, atol=0.015) and share[3] == 0
    assert sample(logits[:1], 0.0, 1, torch.Generator()).tolist() == [0]


def test_it_ends_at_the_end_token(model, tokenizer):
    class Ending(torch.nn.Module):
        """Says 5, 5 and the end."""

        config, device = model.config, torch.device("cpu")

        def forward(self, input_ids, past_key_values, use_cache, logits_to_keep):
            count = (past_key_values or 0) + 1
            logits = torch.zeros(1, 1, 280)
            logits[0, 0, 5 if count < 3 else 0] = 9.0
            return type("Answer", (), {"logits": logits, "past_key_values": count})()

    text = complete(Ending(), tokenizer, "one", 20, temperature=0)
    assert text == bpe.decode(tokenizer, [5, 5])


def test_nothing_is_cut(model, tokenizer):
    assert isinstance(complete(model, tokenizer, "", 48), str)
    with pytest.raises(LimitError, match=r"takes 1 tokens and 49 .* context is 48"):
        complete(model, tokenizer, "", 49)
    with pytest.raises(LimitError, match="context is 48"):
        complete(model, tokenizer, "xyz" * 100, 1)
    for wrong in ({"temperature": -1.0}, {"top_k": 0}, {"tokens": 0}):
        with pytest.raises(UsageError):
            complete(model, tokenizer, "one", **wrong)
