"""Masked losses against a loop; what a model learned is less specific to it."""

import copy

import numpy as np
import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.evaluation.specificity import masked_losses, specificity
from tilth.models.encoders import build_shape
from tilth.objectives.masked import Masked
from tilth.tokens.documents import TokenDocuments
from tilth.training.loop import fit
from tilth.zoo import tiny


def test_losses_do_not_depend_on_batch_or_neighbours():
    model, tokenizer, _ = tiny("masked")
    texts = ["a file", "x", "the name of the object is read " * 4, "value error path"]
    data = TokenDocuments.of(list("abcd"), texts, tokenizer)
    whole = masked_losses(model, data, mask=2, special=(1,))
    alone = [masked_losses(model, data.select([n]), mask=2, special=(1,))[0] for n in range(4)]
    assert np.allclose(whole, alone, atol=1e-5) and (whole > 0).all()
    assert np.array_equal(specificity(model, model, data, mask=2), np.zeros(4))
    one = data.select([1])
    ids = torch.tensor([[0, 2, 0]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, 1].double()
    expected = -logits.log_softmax(-1)[int(one.document(0)[0])].item()
    if len(one.document(0)) == 1:
        assert alone[1] == pytest.approx(expected, abs=1e-5)


def test_what_a_model_learned_is_its_domain():
    model, tokenizer, documents = tiny("masked")
    learned = copy.deepcopy(model)
    data = documents.select(range(60))
    fit(learned, Masked(length=32, mask=2, special=(1,)), data, tokens=60_000, batch_tokens=512)
    assert specificity(model, learned, data.select(range(40)), mask=2, special=(1,)).mean() > 0.3
    other = build_shape(32, 2, vocabulary=300, context=64, pad=1)
    with pytest.raises(UsageError, match="different tokenizers"):
        specificity(model, other, data, mask=2)
    with pytest.raises(DataError, match="an empty text"):
        masked_losses(model, TokenDocuments.of(["a"], [""], tokenizer), mask=2)
