"""Vocabularies: what is shared stays bit for bit, new rows by each method, extension of a BPE."""

import functools

import numpy as np
import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.contextual import contextual_rows
from tilth.models.surgery.promise import equal_bits
from tilth.models.surgery.run import operate
from tilth.models.surgery.vocabulary import METHODS, vocabulary
from tilth.testing.architectures import NAMES
from tilth.tokens import bpe
from tilth.tokens.transfer import extend, transfer

ENGLISH = [
    "the mean of the means is the mean",
    "a stone in the stream, the stream in the stone",
] * 9
KOREAN = ["영화가 정말 재미있다", "정말 재미없는 영화였다", "이 영화는 정말 좋다"] * 9
# The tensors that have a row for each token.
TABLES = {
    "bert": ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias"),
    "roberta": ("roberta.embeddings.word_embeddings.weight", "lm_head.bias"),
    "electra": ("electra.embeddings.word_embeddings.weight", "generator_lm_head.bias"),
    "longformer": ("longformer.embeddings.word_embeddings.weight", "lm_head.bias"),
    "modernbert": ("model.embeddings.tok_embeddings.weight", "decoder.bias"),
    "gpt2": ("transformer.wte.weight",),
    "llama": ("model.embed_tokens.weight",),
    "llama-untied": ("model.embed_tokens.weight", "lm_head.weight"),
    "mistral": ("model.embed_tokens.weight", "lm_head.weight"),
    "qwen2": ("model.embed_tokens.weight",),
    "qwen3": ("model.embed_tokens.weight", "lm_head.weight"),
    "olmo2": ("model.embed_tokens.weight", "lm_head.weight"),
}


@pytest.fixture(scope="module")
def tokenizers():
    old = bpe.train(ENGLISH, 290)
    return old, extend(old, KOREAN, 30)


@functools.cache
def model(name, size):
    """A tiny checkpoint whose vocabulary is the tokenizer's."""
    from tilth.testing import architectures

    config, kind, settings = architectures.MODELS[name]
    import transformers

    torch.manual_seed(0)
    settings = {**settings, "vocab_size": size}
    settings |= {"eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0}
    return Checkpoint.of(getattr(transformers, kind)(getattr(transformers, config)(**settings)))


def test_an_extended_tokenizer_cuts_old_texts_as_before(tokenizers):
    old, new = tokenizers
    assert new.get_vocab_size() == old.get_vocab_size() + 30
    for token, number in old.get_vocab().items():
        assert new.token_to_id(token) == number
    for text in [*ENGLISH[:2], "Other words, 123 \n"]:
        assert bpe.encode(new, [text]) == bpe.encode(old, [text])
    for text in [*KOREAN[:3], "정말 good", "\u200b混ぜ <|end|>"]:
        assert bpe.decode(new, bpe.encode(new, [text])[0]) == text
    assert len(bpe.encode(new, [KOREAN[0]])[0]) < 0.7 * len(bpe.encode(old, [KOREAN[0]])[0])
    with pytest.raises(UsageError, match="none"):
        extend(old, KOREAN, 0)


def test_what_new_tokens_are_made_of(tokenizers):
    old, new = tokenizers
    found = transfer(old, new)
    assert found.old_size == old.get_vocab_size() and found.new_size == new.get_vocab_size()
    assert list(found.fresh) == list(range(found.old_size, found.new_size))
    token = new.encode("영화", add_special_tokens=False).ids
    joined = np.concatenate([found.pieces[n] for n in token])
    assert bpe.decode(old, joined) == "영화"
    assert not found.identity and transfer(old, old).identity
    back = transfer(new, old)
    assert (back.shared >= 0).all() and len(back.fresh) == 0


def test_the_table_of_architectures_is_whole():
    assert set(TABLES) == {*NAMES, "llama-untied"}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("method", METHODS[:3])
def test_shared_rows_stay_and_old_logits_with_them(name, method, tokenizers):
    found = transfer(*tokenizers)
    old = model(name, found.old_size)
    done = operate("vocabulary", old, transfer=found, method=method, seed=2)
    assert done.promise.function and done.kept.logit_difference < 1e-6
    changed = {n for n, t in old.tensors.items() if t.shape != done.checkpoint.tensors[n].shape}
    assert set(TABLES[name]) == changed
    assert done.checkpoint.config.vocab_size == found.new_size
    done.checkpoint.model()


def test_rows_of_each_method(tokenizers):
    found = transfer(*tokenizers)
    old = model("llama-untied", found.old_size)
    tables = {
        (method, head): vocabulary(old, transfer=found, method=method, head=head, renormalise=False)
        for method in METHODS[:3]
        for head in (True, False)
    }
    fresh = torch.from_numpy(found.fresh)
    for name in TABLES["llama-untied"]:
        rows = old.tensors[name]
        pieces = torch.stack([rows[torch.from_numpy(found.pieces[n])].mean(0) for n in found.fresh])
        assert torch.allclose(tables["pieces", True].tensors[name][fresh], pieces)
        mean = rows.mean(0).expand(len(fresh), -1)
        assert torch.allclose(tables["mean", True].tensors[name][fresh], mean)
        assert abs(float(tables["random", True].tensors[name][fresh].std()) - 0.02) < 0.003
    head = tables["pieces", False].tensors["lm_head.weight"][fresh]
    assert torch.allclose(head, old.tensors["lm_head.weight"].mean(0).expand(len(fresh), -1))
    scaled = vocabulary(old, transfer=found).tensors["lm_head.weight"]
    lengths = scaled[fresh].norm(dim=1)
    assert torch.allclose(
        lengths, old.tensors["lm_head.weight"].norm(dim=1).mean().expand_as(lengths)
    )


@pytest.mark.parametrize("name", [name for name in TABLES if name != "electra"])
def test_contextual_rows_leave_the_shared_ones(name, tokenizers):
    found = transfer(*tokenizers)
    old = model(name, found.old_size)
    rows = contextual_rows(old, found, *tokenizers, KOREAN[:2])
    done = operate("vocabulary", old, transfer=found, method="contextual", contexts=rows)
    assert done.promise.function and done.kept.logit_difference < 1e-6
    embedding, *head = TABLES[name]
    table = done.checkpoint.tensors[embedding]
    for number, row in rows.items():
        made = table[number] / table[number].norm()
        assert np.allclose(made, row / np.linalg.norm(row), atol=1e-5)
    # The head's rows, and those of tokens that no sentence has, are of their pieces.
    pieces = operate("vocabulary", old, transfer=found).checkpoint.tensors
    unseen = [number for number in found.fresh if number not in rows]
    assert unseen and rows and equal_bits(table[unseen], pieces[embedding][unseen])
    assert all(equal_bits(done.checkpoint.tensors[part], pieces[part]) for part in head)


def test_a_narrow_table_has_no_contextual_rows(tokenizers):
    found = transfer(*tokenizers)
    with pytest.raises(DataError, match="embedding has 16 numbers, hidden states have 32"):
        contextual_rows(model("electra", found.old_size), found, *tokenizers, KOREAN[:1])


def test_rows_from_sentences(tokenizers):
    old_tokenizer, new_tokenizer = tokenizers
    found = transfer(old_tokenizer, new_tokenizer)
    old = model("bert", found.old_size)
    rows = contextual_rows(old, found, old_tokenizer, new_tokenizer, KOREAN[:3], layer=-1)
    seen = {n for ids in bpe.encode(new_tokenizer, KOREAN[:3]) for n in ids if n in found.fresh}
    assert set(rows) == seen and all(row.shape == (32,) for row in rows.values())
    # One occurrence by hand: the mean of the states of the pieces of the first word.
    one = contextual_rows(old, found, old_tokenizer, new_tokenizer, ["정말"], layer=1)
    ids = torch.tensor(bpe.encode(old_tokenizer, ["정말"]))
    with torch.inference_mode():
        states = old.model()(input_ids=ids, output_hidden_states=True).hidden_states[1][0]
    if len(one) == 1 and len(bpe.encode(new_tokenizer, ["정말"])[0]) == 1:
        table = old.tensors["bert.embeddings.word_embeddings.weight"]
        (row,) = one.values()
        assert np.allclose(row, table.mean(0).numpy(), atol=1e-5)
        assert states.shape[1] == len(row)
    done = operate("vocabulary", old, transfer=found, method="contextual", contexts=rows)
    table = done.checkpoint.tensors["bert.embeddings.word_embeddings.weight"]
    number, row = next(iter(rows.items()))
    made = table[number] / table[number].norm()
    assert np.allclose(made, row / np.linalg.norm(row), atol=1e-5)
    with pytest.raises(UsageError, match="contexts"):
        vocabulary(old, transfer=found, method="contextual")


def test_neutral_and_wrong_vocabularies(tokenizers):
    old_tokenizer, new_tokenizer = tokenizers
    same = transfer(old_tokenizer, old_tokenizer)
    old = model("gpt2", same.old_size)
    assert operate("vocabulary", old, transfer=same).promise.identical
    with pytest.raises(DataError, match="tokens, the model a vocabulary of"):
        vocabulary(model("gpt2", 100), transfer=same)
    with pytest.raises(UsageError, match="tied"):
        vocabulary(old, transfer=transfer(old_tokenizer, new_tokenizer), head=False)
    with pytest.raises(UsageError, match="known"):
        vocabulary(old, transfer=same, method="best")


def test_other_kinds_of_tokenizers():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = {"[UNK]": 0, "[PAD]": 1, "the": 2, "stream": 3, "##s": 4, "of": 5, "s": 6}
    wordpiece = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    wordpiece.pre_tokenizer = pre_tokenizers.Whitespace()
    wordpiece.decoder = decoders.WordPiece()
    more = Tokenizer(models.WordPiece({**words, "streams": 7, "xyz": 8}, unk_token="[UNK]"))
    more.pre_tokenizer, more.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    found = transfer(wordpiece, more)
    assert list(found.shared[:7]) == list(range(7)) and list(found.fresh) == [7, 8]
    assert list(found.pieces[7]) == [3, 4] and len(found.pieces[8]) == 0
    with pytest.raises(DataError, match="byte-level"):
        extend(wordpiece, ENGLISH, 3)
    old = model("bert", 7)
    table = operate("vocabulary", old, transfer=found).checkpoint.tensors
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.allclose(table[name][8] / table[name][8].norm(),
                          old.tensors[name].mean(0) / old.tensors[name].mean(0).norm())  # fmt: skip
