import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DataError, UsageError
from tilth.evaluation.bits import bits_per_byte, bits_ratio, windows
from tilth.testing.objectives import VOCABULARY, documents, tiny_model


@given(st.integers(1, 200), st.integers(1, 40), st.data())
@settings(max_examples=150)
def test_every_target_is_scored_once_with_enough_context(targets, length, draw):
    stride = draw.draw(st.integers(1, length))
    scored = []
    for window in windows(targets, length, stride):
        assert 0 <= window.start <= window.first < window.stop <= targets
        assert window.stop - window.start <= length
        assert window.first - window.start >= min(window.first, length - stride)
        scored += range(window.first, window.stop)
    assert scored == list(range(targets))


@pytest.fixture(scope="module")
def model():
    return tiny_model(seed=2)


def brute_force(model, tokens, length, stride):
    """One target at a time, each with the context that its window gives it."""
    framed = [0, *tokens.tolist(), 0]
    bits = 0.0
    for window in windows(len(tokens) + 1, length, stride):
        for target in range(window.first, window.stop):
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([framed[window.start : target + 1]])).logits
            chances = logits[0, -1].double().log_softmax(-1)
            bits -= chances[framed[target + 1]].item() / math.log(2)
    return bits


@pytest.mark.parametrize(("length", "stride"), [(64, None), (16, None), (16, 16), (10, 3)])
def test_bits_equal_one_target_at_a_time(model, length, stride):
    data = documents().select([0, 1, 4, 5, 6])
    made = bits_per_byte(model, data, length, batch=3, stride=stride)
    expected = [brute_force(model, row, length, stride or length // 2) for row in data.tokens]
    assert np.allclose(made["per_document"]["bits"], expected, rtol=1e-4)
    assert math.isclose(made["bits"], sum(expected), rel_tol=1e-4)
    assert math.isclose(made["bits_per_byte"], made["bits"] / made["bytes"])
    assert made["tokens"] == data.total_tokens and made["end_events"] == 5
    assert made["bytes"] == data.text_bytes.sum()


def test_the_batch_changes_only_the_speed(model):
    data = documents()
    one, many = (bits_per_byte(model, data, 16, batch=batch) for batch in (1, 7))
    assert np.allclose(one["per_document"]["bits"], many["per_document"]["bits"], rtol=1e-5)


def test_some_documents_are_scored_as_among_all(model):
    data = documents()
    whole = bits_per_byte(model, data, 16)["per_document"]
    some = bits_per_byte(model, data, 16, documents=[9, 3])["per_document"]
    assert some["ids"] == [whole["ids"][9], whole["ids"][3]]
    assert np.allclose(some["bits"], [whole["bits"][9], whole["bits"][3]], rtol=1e-5)


def test_the_ratio_of_documents_is_bits_per_byte(model):
    whole = bits_per_byte(model, documents(), 16, stride=16)
    found = bits_ratio(model, documents(), 16, stride=16)
    assert found.numerators.tolist() == whole["per_document"]["bits"]
    assert found.numerators.sum() / found.denominators.sum() == whole["bits_per_byte"]


def test_even_chances_cost_the_logarithm_of_the_vocabulary(model):
    even = copy.deepcopy(model)
    torch.nn.init.zeros_(even.get_output_embeddings().weight)
    data = documents()
    made = bits_per_byte(even, data, 16)
    expected = (data.total_tokens + len(data)) * math.log2(VOCABULARY)
    assert math.isclose(made["bits"], expected, rel_tol=1e-6)


def test_the_mode_of_the_model_stays(model):
    model.train()
    bits_per_byte(model, documents(), 16, documents=[3])
    assert model.training
    model.eval()


def test_what_cannot_be_scored_is_refused(model):
    with pytest.raises(UsageError, match="context is 64"):
        bits_per_byte(model, documents(), 65)
    with pytest.raises(UsageError, match="stride"):
        bits_per_byte(model, documents(), 16, stride=17)
    with pytest.raises(DataError, match="no byte"):
        bits_per_byte(model, documents(), 16, documents=[0])
