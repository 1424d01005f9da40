import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError, LimitError, UsageError
from tilth.evaluation.bits import bits_per_byte, nats_per_document, windows
from tilth.models import decoder
from tilth.models.complete import complete
from tilth.testing.faults import tree
from tilth.tokens import bpe


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(["some words to learn from, and then some more"] * 3, 300)


@pytest.fixture(scope="module")
def model():
    return decoder.build("25k", vocabulary=300, context=48).eval()


@pytest.mark.parametrize("size, vocabulary", [("0.5m", 4096), ("1m", 4096), ("5m", 8192), (30_000, 300)])
def test_the_dial_gives_about_that_many_parameters(size, vocabulary):
    model = decoder.build(size, vocabulary=vocabulary)
    count = decoder.count_parameters(model)
    assert count == pytest.approx(decoder.parse_size(size), rel=0.25)
    assert count == decoder._parameters(decoder.shape_for(size, vocabulary), vocabulary)
    assert decoder.flops_per_token(model, 256) > 6 * count


def test_a_saved_model_loads_in_transformers_with_equal_logits(model, tokenizer, tmp_path):
    decoder.save(model, tmp_path / "a", tokenizer, tokens=5)
    decoder.save(model, tmp_path / "b", tokenizer, tokens=5)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = torch.arange(20).reshape(2, 10)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    assert torch.equal(theirs(ids).logits, model(ids).logits)
    assert torch.equal(decoder.load(tmp_path / "a")(ids).logits, model(ids).logits)
    text = "some more words"
    assert AutoTokenizer.from_pretrained(tmp_path / "a")(text)["input_ids"] == (
        tokenizer.encode(text).ids
    )


@pytest.mark.parametrize("damage", ["cut", "longer", "lie", "header", "overlap"])
def test_a_lying_safetensors_header_is_refused_before_loading(model, tmp_path, damage):
    decoder.save(model, tmp_path)
    (tmp_path / "manifest.json").unlink()
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    if damage == "cut":
        data = data[:-10]
    elif damage == "longer":
        data += b"x"
    elif damage == "header":
        data = (1 << 60).to_bytes(8, "little") + data[8:]
    else:
        if damage == "lie":
            header[names[0]]["shape"] = [10**12]
        else:
            header[names[0]]["data_offsets"] = header[names[1]]["data_offsets"]
        new = json.dumps(header).encode()
        data = len(new).to_bytes(8, "little") + new + data[8 + length :]
    path.write_bytes(data)
    with pytest.raises(DamagedError):
        decoder.load(tmp_path)


def test_a_folder_that_is_no_model_is_refused(model, tmp_path):
    with pytest.raises(DataError, match=r"config\.json"):
        decoder.load(tmp_path)
    decoder.save(model, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises((DataError, DamagedError)):
        decoder.load(tmp_path)
    with pytest.raises(UsageError):
        decoder.parse_size("big")


def test_greedy_continuation_equals_transformers(model, tokenizer):
    prompt = "some words"
    ids = [0, *tokenizer.encode(prompt).ids]
    theirs = model.generate(
        torch.tensor([ids]), max_new_tokens=8, do_sample=False, eos_token_id=0, pad_token_id=0
    )[0, len(ids) :].tolist()
    theirs = theirs[: theirs.index(0)] if 0 in theirs else theirs
    assert complete(model, tokenizer, prompt, tokens=8, temperature=0) == tokenizer.decode(theirs)
    first = complete(model, tokenizer, prompt, tokens=8, seed=1)
    assert first == complete(model, tokenizer, prompt, tokens=8, seed=1)
    assert len({complete(model, tokenizer, prompt, tokens=8, seed=s) for s in range(5)}) > 1


def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(model, tokenizer):
    with pytest.raises(LimitError, match=r"\d+ tokens and 40 are wanted.*48"):
        complete(model, tokenizer, "words " * 20, tokens=40)


@given(st.integers(1, 400), st.integers(2, 60))
@settings(max_examples=80, deadline=None)
def test_windows_score_every_position_once(length, context):
    scored = []
    for start, stop, first in windows(length, context):
        assert 0 <= start <= first < stop <= length and stop - start <= context
        assert first == 0 or first - start >= context // 2 - 1
        scored += range(first, stop)
    assert scored == list(range(length))


def test_nats_equal_a_plain_loop(model):
    chance = np.random.default_rng(0)
    lengths = [0, 1, 5, 40, 47, 48, 120]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = chance.integers(1, 300, offsets[-1]).astype(np.uint16)
    found = nats_per_document(model, flat, offsets, 48, rows=3)
    for document, count in enumerate(lengths):
        ids = [0, *flat[offsets[document] : offsets[document + 1]].tolist(), 0]
        expected = 0.0
        for start, stop, first in windows(count + 1, 48):
            with torch.inference_mode():
                logits = model(torch.tensor([ids[start:stop]])).logits[0].log_softmax(-1)
            expected -= sum(float(logits[i - start, ids[i + 1]]) for i in range(first, stop))
        assert found[document] == pytest.approx(expected, rel=1e-5)
    assert bits_per_byte(np.array([np.log(2) * 8]), np.array([4])) == 2.0
