"""Edits of a cache against fresh runs of the model."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import DamagedError, UsageError
from tilth.serving.cache_files import load_chain, save_chain
from tilth.serving.model_runner import ModelRunner, Segment

NAMES = ["llama", "llama-yarn", "qwen3", "olmo2"]


@pytest.fixture(params=["turned", "plain"])
def keys(request):
    return request.param


def setting(name, keys="turned", device="cpu"):
    runner = ModelRunner(tiny.model(name), device=device)
    return runner, runner.cache(blocks=60, block=4, keys=keys)


def read(runner, cache, ids, chain=None):
    chain = chain or cache.chain()
    return chain, runner.forward(cache, [Segment(chain, ids)])[-1].cpu()


def near(a, b, tolerance=1e-5):
    return torch.allclose(a.keys, b.keys, atol=tolerance) and torch.allclose(
        a.values, b.values, atol=tolerance
    )


@pytest.mark.parametrize("name", NAMES)
def test_rows_taken_out_fit_at_their_place_again(name, keys, device):
    runner, cache = setting(name, keys, device)
    (ids,) = tiny.prompts(1, (30,))
    chain, _ = read(runner, cache, ids)
    other = cache.chain()
    cache.fill(other, cache.slice(chain, 0, 11))
    cache.fill(other, cache.slice(chain, 11))
    assert near(cache.slice(other), cache.slice(chain))
    _, after = read(runner, cache, [7], other)
    assert torch.allclose(after, tiny.logits(tiny.model(name), [*ids, 7])[-1], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_layer_of_moved_rows_is_that_of_a_fresh_run(name, keys, device):
    # Keys and values of layer 0 depend on token and position only: there the turn is exact.
    runner, cache = setting(name, keys, device)
    (ids,) = tiny.prompts(2, (40,))
    chain, _ = read(runner, cache, ids)
    new = tiny.prompts(3, (9,))[0]
    edited = [*ids[:10], *new, *ids[14:]]
    fresh, _ = read(runner, cache, edited)
    cache.replace(chain, 10, 14, cache.slice(fresh, 10, 19))
    assert chain.length == len(edited) and chain.edited
    found, expected = cache.keys[0], cache.keys[0]
    found = found[cache.slots(chain, 0, chain.length)]
    expected = expected[cache.slots(fresh, 0, fresh.length)]
    assert torch.allclose(found, expected, atol=1e-5)
    whole = cache.slice(chain)
    assert torch.allclose(whole.values[0], cache.slice(fresh).values[0], atol=1e-5)
    # What stands before the edit is exact in every layer.
    assert near(cache.slice(chain, 0, 19), cache.slice(fresh, 0, 19))


def test_shift_turns_keys_as_if_they_stood_elsewhere(device):
    runner, cache = setting("llama-yarn", device=device)
    (ids,) = tiny.prompts(4, (20,))
    chain, _ = read(runner, cache, ids)
    before = cache.slice(chain)
    cache.shift(chain, 8, 5)
    positions = torch.arange(20, device=device)
    positions += 5 * (positions >= 8)
    expected = runner.weights.rotary.turn(before.keys, positions)
    slots = cache.slots(chain, 0, 20)
    found = torch.stack([one[slots] for one in cache.keys])
    assert torch.allclose(found, expected, atol=1e-5)
    cache.shift(chain, 8, -5)
    assert near(cache.slice(chain), before)
    with pytest.raises(UsageError, match="shifted"):
        gpt, other = setting("gpt2", device=device)
        other.shift(read(gpt, other, ids)[0], 0, 1)


def test_single_rows_are_written(keys, device):
    runner, cache = setting("llama", keys, device)
    (ids,) = tiny.prompts(5, (20,))
    chain, _ = read(runner, cache, ids)
    spoilt = cache.fork(chain)
    zero = cache.slice(chain, 0, 3)
    zero = type(zero)(zero.keys * 0, zero.values * 0)
    cache.write_rows(spoilt, [4, 9, 17], zero)
    assert cache.slice(spoilt).keys[:, [4, 9, 17]].abs().max() < 1e-6
    assert torch.equal(cache.slice(chain, 4, 5).keys != 0, torch.ones_like(zero.keys[:, :1]) > 0)
    pieces = [cache.slice(chain, at, at + 1) for at in (4, 9, 17)]
    back = type(zero)(*(torch.cat([getattr(p, side) for p in pieces], 1)
                        for side in ("keys", "values")))  # fmt: skip
    cache.write_rows(spoilt, [4, 9, 17], back)
    assert near(cache.slice(spoilt), cache.slice(chain))


def test_beginnings_are_found_and_forks_part(keys, device):
    runner, cache = setting("qwen3", keys, device)
    (ids,) = tiny.prompts(6, (18,))
    chain, _ = read(runner, cache, ids)
    other = cache.chain([*ids[:13], 5, 6, 7])
    assert other.length == 12 and other.blocks == chain.blocks[:3]
    _, rows = read(runner, cache, [*ids[12:13], 5], other)
    model = tiny.model("qwen3")
    assert torch.allclose(rows, tiny.logits(model, [*ids[:13], 5])[-1], atol=1e-4)
    fork = cache.fork(chain)
    _, left = read(runner, cache, [1], chain)
    _, right = read(runner, cache, [2], fork)
    assert torch.allclose(left, tiny.logits(model, [*ids, 1])[-1], atol=1e-4)
    assert torch.allclose(right, tiny.logits(model, [*ids, 2])[-1], atol=1e-4)
    cache.truncate(fork, 15)
    _, back = read(runner, cache, ids[15:], fork)
    assert torch.allclose(back, tiny.logits(model, ids)[-1], atol=1e-4)
    for one in (chain, other, fork):
        cache.free(one)
    # Free blocks keep their names until somebody needs the room.
    assert cache.known(cache.names(ids)) == 16 and cache.table.free == 60
    long = cache.chain()
    cache.reserve(long, 60 * 4)
    assert cache.known(cache.names(ids)) == 0


def test_files_hold_rows_and_are_checked(tmp_path, keys, device):
    runner, cache = setting("olmo2", keys, device)
    (ids,) = tiny.prompts(7, (17,))
    chain, _ = read(runner, cache, ids)
    name = runner.weights.fingerprint()
    save_chain(cache, chain, tmp_path / "prompt.safetensors", name)
    other = runner.cache(blocks=9, block=5)
    loaded = load_chain(other, tmp_path / "prompt.safetensors", name)
    _, rows = read(runner, other, [3], loaded)
    expected = tiny.logits(tiny.model("olmo2"), [*ids, 3])[-1]
    assert torch.allclose(rows, expected, atol=1e-4)
    assert other.known(other.names(ids)) == 15
    with pytest.raises(DamagedError, match="another model"):
        load_chain(other, tmp_path / "prompt.safetensors", "else")
    wrong = ModelRunner(tiny.model("qwen3")).cache(blocks=9)
    with pytest.raises(DamagedError, match="of this shape"):
        load_chain(wrong, tmp_path / "prompt.safetensors", name)
