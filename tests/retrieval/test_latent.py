"""The encoder of runs of characters: its formula, its folder, and words that only look alike."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError, TilthError
from tilth.retrieval.analyzer import Words
from tilth.retrieval.dense import Dense
from tilth.retrieval.encoders import latent, load_encoder
from tilth.retrieval.encoders.latent import fit, grams_of

TEXTS = [
    "A mill turns by the water of a river.",
    "The miller grinds wheat to flour in his mills.",
    "A judge of the court hears an appeal.",
    "Appeals are judged by courts of law.",
    "Sails carry a boat along the coast, sails and wind.",
    "Bread is baked of flour, water and salt.",
]


def by_hand(texts, queries):
    """The formula of the docstring with dictionaries and numpy's own SVD."""

    def bag(text):
        found = Counter(g for word in Words().terms(text) for g in grams_of(word))
        return {g: 1 + np.log(times) for g, times in found.items()}

    bags = [bag(text) for text in texts]
    grams = sorted({g for found in bags for g in found})
    spread = {g: sum(g in found for found in bags) for g in grams}
    rarity = np.array([1 + np.log((1 + len(texts)) / (1 + spread[g])) for g in grams])

    def vectors(found):
        return np.array([[one.get(g, 0) for g in grams] for one in found]) * rarity

    matrix = vectors(bags)
    matrix /= np.linalg.norm(matrix, axis=1)[:, None]
    right = np.linalg.svd(matrix, full_matrices=False)[2]
    made = vectors([bag(query) for query in queries]) @ right.T
    return made / np.linalg.norm(made, axis=1)[:, None]


def test_vectors_are_those_of_the_formula():
    made = fit(TEXTS)
    queries = [*TEXTS, "millers of the rivers", "courtly appeals"]
    expected = by_hand(TEXTS, queries)
    found = made.encode(queries)
    assert found.shape == (8, 6) == (8, made.dimensions) and found.dtype == np.float32
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)
    assert made.encode_queries(["rivers"]).tolist() == made.encode(["rivers"]).tolist()


def test_words_that_share_no_form_are_found_by_their_letters():
    dense = Dense(encoder=fit(TEXTS)).fit({str(n): text for n, text in enumerate(TEXTS)})
    best = [found[0][0] for found in dense.search(["milling", "judging", "baker"], 1).rows.values()]
    assert best[0] in ("0", "1") and best[1] in ("2", "3") and best[2] == "5"


def test_the_order_of_texts_and_batches_count_for_nothing(monkeypatch):
    made, other = fit(TEXTS), fit([*reversed(TEXTS), TEXTS[0], "  "])
    assert made.fingerprint == other.fingerprint
    whole = made.encode(TEXTS)
    monkeypatch.setattr(latent, "TOGETHER", 2)
    np.testing.assert_allclose(made.encode(TEXTS), whole, atol=1e-6)


def test_limits_keep_the_most_frequent_grams_and_fewer_dimensions(monkeypatch):
    monkeypatch.setattr(latent, "KEPT", 10)
    made = fit(TEXTS, dimensions=3)
    assert made.dimensions == 3 and made.projection.shape == (10, 3)
    monkeypatch.setattr(latent, "TEXTS", 4)
    assert fit(TEXTS).dimensions <= 4
    with pytest.raises(DataError, match="2 texts are too few"):
        fit(["one word", "another word", "", "..."])


def test_a_folder_gives_the_same_space_back(tmp_path):
    made = fit(TEXTS)
    assert made.save(tmp_path)[-1] == "manifest.json"
    again = load_encoder(tmp_path)
    assert again.fingerprint == made.fingerprint
    assert again.encode(TEXTS).tolist() == made.encode(TEXTS).tolist()
    dense = Dense(encoder=made).fit({"a": TEXTS[0]})
    dense.save(tmp_path / "dense")
    assert Dense.load(tmp_path / "dense").search(["mill"]) == dense.search(["mill"])


@pytest.mark.parametrize("damage", ["grams", "version", "weights", "no object"])
def test_a_damaged_folder_is_refused_in_one_line(tmp_path, damage):
    fit(TEXTS).save(tmp_path)
    if damage == "grams":
        (tmp_path / latent.GRAMS).write_text("one\n")
    elif damage == "version":
        (tmp_path / latent.FILE).write_text(json.dumps({"name": "latent", "version": 99}))
    elif damage == "weights":
        (tmp_path / latent.WEIGHTS).write_bytes(b"\xff" * 100)
    else:
        (tmp_path / latent.FILE).write_text("[]")
    kind = DataError if damage == "version" else DamagedError
    with pytest.raises(kind) as caught:
        load_encoder(tmp_path)
    assert isinstance(caught.value, TilthError) and "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_has_a_unit_vector_or_none(texts):
    lengths = np.linalg.norm(fit(TEXTS).encode(texts), axis=1) if texts else np.zeros(0)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))


def test_it_needs_no_torch():
    program = (
        "import sys; from tilth.retrieval.encoders.latent import fit\n"
        "from tilth.retrieval.dense import Dense\n"
        f"Dense(encoder=fit({TEXTS!r})).fit({{'a': 'mill'}}).search(['miller'])\n"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
