"""Hidden vectors against the model's own states; a probe reads off what is there."""

import numpy as np
import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.evaluation.probes import VECTORS, hidden_vectors, probe
from tilth.tokens.documents import TokenDocuments
from tilth.zoo import tiny


@pytest.mark.parametrize("base", ["masked", "causal"])
def test_vectors_are_the_states_of_a_layer(base):
    model, tokenizer, _ = tiny(base)
    data = TokenDocuments.of(["a", "b"], ["a file is read", "x"], tokenizer)
    for layer in (0, 1, -1):
        for vector in VECTORS:
            found, cut = hidden_vectors(model, data, layer=layer, vector=vector)
            assert cut == 0
            for row in range(2):
                ids = torch.tensor([[0, *data.document(row).tolist()]])
                with torch.no_grad():
                    states = model.base_model(input_ids=ids, output_hidden_states=True)
                states = states.hidden_states[layer][0].numpy()
                wanted = {"mean": states.mean(0), "first": states[0], "last": states[-1]}
                assert np.allclose(found[row], wanted[vector], atol=1e-5)


def test_a_probe_finds_a_word():
    model, tokenizer, _ = tiny("masked")
    chance = np.random.default_rng(0)
    words = "file name list object string return value error".split()
    labels = ["yes" if n % 2 else "no" for n in range(120)]
    texts = [" ".join([*chance.choice(words, 4), "class" if label == "yes" else "module"])
             for label in labels]  # fmt: skip
    data = TokenDocuments.of([str(n) for n in range(120)], texts, tokenizer)
    vectors = hidden_vectors(model, data).vectors
    right = probe(vectors[:80], labels[:80], vectors[80:], labels[80:])
    assert len(right) == 40 and np.mean(right) > 0.9
    mixed = list(chance.permutation(labels[:80]))
    assert np.mean(probe(vectors[:80], mixed, vectors[80:], labels[80:])) < 0.8
    with pytest.raises(DataError, match="two labels"):
        probe(vectors, ["a"] * 120, vectors, labels)
    with pytest.raises(UsageError, match="there is no layer 7"):
        hidden_vectors(model, data, layer=7)


def test_what_is_cut_is_counted():
    model, tokenizer, _ = tiny("masked")
    texts = ["a file is read", "x", "value " * 200]
    data = TokenDocuments.of(["a", "b", "c"], texts, tokenizer)
    assert hidden_vectors(model, data, length=3).cut == sum(max(0, n - 3) for n in data.lengths) > 0
    # One token for the end in front, and one that encoders keep free.
    assert hidden_vectors(model, data).cut == data.lengths[2] - 62
