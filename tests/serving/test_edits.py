"""Caches that follow an edit, and caches that are blended, against fresh readings."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import LimitError, UsageError
from tilth.serving.edits import answer
from tilth.serving.edits.cacheblend import Blender, blend, read_chunk, rerun
from tilth.serving.edits.pie import Edit, OpenText, edit_script, edited
from tilth.serving.edits.reading import read
from tilth.serving.engine import Engine
from tilth.serving.model_runner import ModelRunner

NAMES = ["llama", "llama-yarn", "mistral", "qwen2", "qwen3", "olmo2"]


def setting(name="llama", keys="turned"):
    runner = ModelRunner(tiny.model(name))
    return runner, runner.cache(blocks=200, block=4, keys=keys, share=False)


def engine(name="llama", **options):
    return Engine(tiny.model(name), tiny.tokenizer(), block=4, **options)


def same(cache, one, other, tolerance=1e-5, layers=None):
    a, b = cache.slice(one.chain), cache.slice(other.chain)
    part = slice(layers)
    return len(a) == len(b) and all(
        torch.allclose(x[part], y[part], atol=tolerance)
        for x, y in ((a.keys, b.keys), (a.values, b.values))
    )


def patched(before, edits):
    made, at = [], 0
    for edit in edits:
        made += [*before[at : edit.start], *edit.ids]
        at = edit.stop
    return made + list(before[at:])


ids = st.lists(st.integers(0, 5), max_size=24)


@settings(max_examples=150, deadline=None)
@given(ids, ids, st.booleans())
def test_an_edit_script_makes_the_new_text(before, after, lines):
    ends = {0, 3} if lines else ()
    edits = edit_script(before, after, ends)
    assert patched(before, edits) == after
    assert (before == after) == (not edits)
    for edit in edits if lines else ():
        # Whole lines, on both sides.
        for text, at in ((before, edit.start), (before, edit.stop)):
            assert at in (0, len(text)) or text[at - 1] in ends


@pytest.mark.parametrize("keys", ["turned", "plain"])
@pytest.mark.parametrize("name", NAMES)
def test_several_edits_are_exact_in_the_first_layer(name, keys):
    runner, cache = setting(name, keys)
    before = tiny.prompts(1, (60,))[0]
    new = tiny.prompts(2, (9, 4))
    edits = [Edit(7, 7, tuple(new[0])), Edit(20, 26, ()), Edit(30, 33, tuple(new[1]))]
    after = patched(before, edits)
    found = edited(runner, cache, read(runner, cache, before), edits)
    fresh = read(runner, cache, after)
    assert found.ids == after and found.run == 9 + 4 + 1
    # Before the edit, and the new rows of it, every layer is that of a fresh reading.
    assert same(cache, found, fresh, layers=1)
    whole, expected = (cache.slice(one.chain, 0, 16) for one in (found, fresh))
    assert torch.allclose(whole.keys, expected.keys, atol=1e-5)
    assert not same(cache, found, fresh)
    wrong = edited(runner, cache, read(runner, cache, before), edits, turn=False)
    assert not same(cache, wrong, fresh, layers=1)


@pytest.mark.parametrize("name", NAMES)
def test_no_edit_and_an_edit_at_the_end_are_exact(name):
    runner, cache = setting(name)
    before = tiny.prompts(3, (41,))[0]
    reading = read(runner, cache, before)
    same_text = edited(runner, cache, reading, edit_script(before, before))
    assert same_text.run == 0 and torch.equal(same_text.logits, reading.logits)
    for after in ([*before, 5, 6], before[:-3], [*before[:-2], 9], before[:1]):
        found = edited(runner, cache, read(runner, cache, before), edit_script(before, after))
        fresh = read(runner, cache, after)
        assert same(cache, found, fresh)
        assert torch.allclose(found.logits, fresh.logits, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_tail_that_is_run_again_whole_is_exact(name):
    runner, cache = setting(name)
    before = tiny.prompts(4, (50,))[0]
    edits = [Edit(10, 14, (3, 4, 5))]
    fresh = read(runner, cache, patched(before, edits))
    distance = []
    for share in (0.0, 0.3, 1.0):
        found = edited(runner, cache, read(runner, cache, before), edits, refresh=share)
        rows, expected = (cache.slice(one.chain).values for one in (found, fresh))
        distance.append(float((rows - expected).abs().sum()))
    assert distance[0] > distance[1] > distance[2]
    assert same(cache, found, fresh)
    assert torch.allclose(found.logits, fresh.logits, atol=1e-4)


def chunked(runner, cache, seed=5, sizes=(12, 9, 14), head=(1,)):
    chunks = tiny.prompts(seed, sizes)
    held = [(one, read_chunk(runner, cache, one, head)) for one in chunks]
    return held, [*head, *(token for one in chunks for token in one)]


@pytest.mark.parametrize("keys", ["turned", "plain"])
@pytest.mark.parametrize("name", NAMES)
def test_a_blend_that_runs_all_again_is_a_full_reading(name, keys):
    runner, cache = setting(name, keys)
    chunks, text = chunked(runner, cache)
    suffix = [7, 8, 9]
    fresh = read(runner, cache, [*text, *suffix])
    found = blend(runner, cache, chunks, suffix, head=[1], share=1.0)
    assert found.ids == fresh.ids
    assert same(cache, found, fresh)
    assert torch.allclose(found.logits, fresh.logits, atol=1e-4)
    # The first layer needs no share, and the first chunk neither.
    joined = blend(runner, cache, chunks, suffix, head=[1], share=0.0)
    assert same(cache, joined, fresh, layers=1)
    rows, expected = (cache.slice(one.chain, 0, 13) for one in (joined, fresh))
    assert torch.allclose(rows.values, expected.values, atol=1e-5)
    one = blend(runner, cache, chunks[:1], suffix, head=[1], share=0.1)
    assert same(cache, one, read(runner, cache, [*text[:13], *suffix]))


def test_what_is_chosen_changed_most_and_is_never_of_the_first_chunk():
    runner, cache = setting("llama")
    chunks, text = chunked(runner, cache)
    suffix = [7, 8, 9]
    fresh = cache.slice(read(runner, cache, [*text, *suffix]).chain).values[1]
    joined = blend(runner, cache, chunks, suffix, head=[1], share=0.0)
    apart = cache.slice(joined.chain).values[1]
    changed = (fresh - apart).square().sum((1, 2))
    assert float(changed[:13].max()) < 1e-10
    stale = list(range(13, 36))
    _, kept, _ = rerun(runner, cache, joined.chain, joined.ids, stale, 0.25, range(36, 39))
    best = sorted((13 + changed[13:36].topk(6).indices).tolist())
    assert kept == [*best, 36, 37, 38]


def test_a_chosen_token_sees_nothing_that_stands_behind_it():
    # A mask aligned at the end would let it: the row of a chosen token must not depend on what
    # comes later.
    runner, cache = setting("llama")
    chunks, _ = chunked(runner, cache)
    found = []
    for suffix in ([7, 8, 9], [20, 21, 22]):
        made = blend(runner, cache, chunks, suffix, head=[1], chosen=[15, 30], share=0.1)
        found.append(cache.slice(made.chain, 0, 36))
    assert torch.equal(found[0].keys, found[1].keys)
    assert torch.equal(found[0].values, found[1].values)


def test_wrong_edits_and_blends_are_refused():
    runner, cache = setting()
    reading = read(runner, cache, [1, 2, 3])
    for edits in ([Edit(2, 5, ())], [Edit(1, 2, ()), Edit(0, 1, ())]):
        with pytest.raises(UsageError):
            edited(runner, cache, reading, edits)
    chunks, _ = chunked(runner, cache)
    for wrong in ({"share": 1.5}, {"share": -0.1}):
        with pytest.raises(UsageError):
            blend(runner, cache, chunks, [3], **wrong)
    with pytest.raises(UsageError):
        blend(runner, cache, chunks, [])
    with pytest.raises(UsageError):
        OpenText(engine("gpt2"), "one two")


def test_an_open_text_follows_its_edits_and_writes():
    serving = engine()
    text = "one two three\nfour five six\nseven one two\n" * 2
    file = OpenText(serving, text)
    before = file.reading.run
    changed = text.replace("four", "six", 1)
    run = file.edit(changed)
    assert 0 < run < before
    assert file.reading.ids == serving.encode(changed)
    assert len(file.write(tokens=5, temperature=0)) > 0
    file.edit(changed + "one two")
    file.reread()
    free = file.desk.cache.table.free
    expected = serving.generate([changed + "one two"], tokens=8, temperature=0)[0]
    assert file.write(tokens=8, temperature=0) == expected
    assert file.desk.cache.table.free == free
    with pytest.raises(LimitError):
        file.edit("seven " * 400)


def test_a_blender_keeps_chunks_and_measures_its_loss():
    serving = engine()
    blender = Blender(serving, memory=4000)
    texts = ["one two three", "four five six seven", "two two one"]
    reading = blender.blend(texts, "seven", share=1.0)
    assert len(blender._kept) < 3  # memory is bounded
    tokens = serving.encode("")
    for text in [*texts, "seven"]:
        tokens += serving.encode(text)[1:]
    assert reading.ids == tokens
    expected = serving.generate([tokens], tokens=6, temperature=0)[0]
    assert blender.write(reading, tokens=6, temperature=0) == expected
    blender.drop(reading)
    assert blender.desk.cache.table.free == blender.desk.cache.table.total
    samples = [(texts, "seven"), (texts[::-1], "five")]
    assert np.allclose(blender.loss(samples, share=1.0), 0, atol=1e-9)
    assert min(blender.loss(samples, share=0.0)) > 1e-6


def test_an_answer_leaves_the_reading_as_it_is():
    runner, cache = setting()
    reading = read(runner, cache, tiny.prompts(8, (13,))[0])
    before = cache.slice(reading.chain)
    first, second = (answer(runner, cache, reading, 5) for _ in range(2))
    assert [one.id for one in first] == [one.id for one in second]
    after = cache.slice(reading.chain)
    assert torch.equal(before.keys, after.keys) and torch.equal(before.values, after.values)
