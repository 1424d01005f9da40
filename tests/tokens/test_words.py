import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tilth.errors import UsageError
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.words import informative_words, word_starts, word_table

TEXTS = [
    "The miller's 12 sacks (of corn) weren't ground; 3.5 kg fell. Größe über Äpfel, naïve!",
    "def main(): return x_1 + 22 # überall: ein Wort. 日本語のテスト and ελληνικά words",
] * 3


def byte_level() -> Tokenizer:
    return bpe.train(TEXTS, 330)


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=140, special_tokens=["[UNK]", "[SEP]"])
    )
    return tokenizer


def metaspace() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=140, special_tokens=["<unk>", "</s>"])
    )
    return tokenizer


@pytest.mark.parametrize("make", [byte_level, word_piece, metaspace])
def test_words_begin_where_the_tokenizer_cuts_them(make):
    tokenizer = make()
    table = word_table(tokenizer)
    assert len(table) == tokenizer.get_vocab_size()
    for text in TEXTS[:2]:
        found = tokenizer.encode(text, add_special_tokens=False)
        expected = np.diff(np.array(found.word_ids), prepend=-1) != 0
        assert word_starts(table, np.array(found.ids)).tolist() == expected.tolist()


def test_an_empty_document_and_an_unknown_id():
    table = word_table(byte_level())
    assert word_starts(table, np.zeros(0, dtype=np.uint16)).tolist() == []
    with pytest.raises(UsageError):
        word_starts(table, np.array([len(table)]))


def test_informative_words_are_frequent_in_few_texts():
    tokenizer = byte_level()
    texts = ["the corn the corn", "the sacks the", "the Wort the", " corn corn the"]
    data = TokenDocuments.of([str(n) for n in range(4)], texts, tokenizer)
    found = informative_words(data, word_table(tokenizer), 5, longest=9)
    words = [tokenizer.decode(list(word)) for word, _ in found]
    assert words[0] == " corn" and words[-1].strip() == "the"
    # ln(5 / 3) + 1, times three over two documents.
    assert found[0][1] == pytest.approx((np.log(5 / 3) + 1) * 4 / 2, abs=1e-5)
