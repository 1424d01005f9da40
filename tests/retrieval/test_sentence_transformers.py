"""Encoders against the package `sentence_transformers`, in both directions, where it is there."""

import numpy as np
import pytest

from tilth.models.encoders import build_shape
from tilth.retrieval.encoders import load_encoder
from tilth.retrieval.encoders.static import Static
from tilth.retrieval.encoders.transformer import POOLINGS, Transformer
from tilth.tokens import bpe

TEXTS = ["The river.", "The court and the judge of case 3 are told. " * 4, "salt", "Öl, naïve"]
PROMPTS = {"query": "find: ", "document": "text: "}


@pytest.fixture(scope="module")
def package():
    return pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train([" ".join(TEXTS), "the bread and the mill " * 9], 300)


@pytest.fixture(scope="module")
def model():
    return build_shape(32, 2, vocabulary=300, context=64, kind="bert").base_model


def same(encoder, theirs, prompts):
    """Within 1e-5, documents and queries, alone and together."""
    named = {name: name for name in prompts}
    for side, mine in (("document", encoder.encode), ("query", encoder.encode_queries)):
        found = theirs.encode(TEXTS, prompt_name=named.get(side), show_progress_bar=False)
        assert np.abs(mine(TEXTS) - found).max() < 1e-5
        assert np.abs(mine(TEXTS[:1]) - found[:1]).max() < 1e-5


def test_a_folder_says_whose_tokenizer_it_has(model, tokenizer, tmp_path):
    """Without a class stated, a Bert's would be taken, and it is of another kind."""
    from transformers import AutoTokenizer

    Transformer(model, tokenizer).save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert [theirs(text)["input_ids"] for text in TEXTS] == bpe.encode(tokenizer, TEXTS)
    assert theirs.pad_token is not None


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_one_saves_the_other_reads_alike(
    pooling, normalize, package, model, tokenizer, tmp_path
):
    prompts = PROMPTS if normalize else {}
    encoder = Transformer(
        model, tokenizer, pooling=pooling, normalize=normalize, prompts=prompts, longest=24,
        lower=not normalize,
    )  # fmt: skip
    encoder.save(tmp_path / "ours")
    theirs = package.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    assert theirs.max_seq_length == 24
    same(encoder, theirs, prompts)
    theirs.save(str(tmp_path / "theirs"))
    same(load_encoder(tmp_path / "theirs"), theirs, prompts)


def test_static_encoders_are_read_alike(package, tokenizer, tmp_path):
    weights = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    encoder = Static(weights, tokenizer)
    encoder.save(tmp_path / "ours")
    theirs = package.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    same(encoder, theirs, {})
    theirs.save(str(tmp_path / "theirs"))
    same(load_encoder(tmp_path / "theirs"), theirs, {})
