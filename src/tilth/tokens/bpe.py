"""Byte-level byte-pair encoding (Sennrich, Haddow and Birch, 2016; bytes: Radford et al., 2019).

Merges the most frequent pair of neighbours again and again, inside words cut by GPT-2's pattern.
The alphabet is the 256 bytes, so every text can be written and comes back exactly: `decode` after
`encode` is the identity. Use it as the default for any language and for code. It is a poor choice
where tokens must be words (count models over words), and a vocabulary learned on one domain is
wasteful on another: look at `fertility`.

The work is done by the `tokenizers` library; the same texts in any order give the same bytes, for
any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import DamagedError, DataError, UsageError
from tilth.store.manifest import NAME, write_manifest
from tilth.store.write import write_json, write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Stands before, between and after documents. Never made from a user's text: where the letters
# occur in a text they are encoded as letters.
END = "<|end|>"
# What ends a document for tokenizers of other families, in the order in which they are looked for.
ENDS = (END, "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[SEP]")
# For models that need them; a tokenizer has them where `train` was given them as `special`.
PAD, MASK = "<|pad|>", "<|mask|>"
BYTES = 256
FILES = ("tokenizer.json", "tokenizer_config.json")


def train(
    texts: Iterable[str],
    vocabulary: int = 4096,
    *,
    single_digits: bool = False,
    minimum_frequency: int = 2,
    special: Sequence[str] = (),
) -> Tokenizer:
    """A tokenizer learned from texts, with id 0 for the end of a document.

    `special`: more tokens that no text gives, at the ids 1, 2, ..., such as (PAD, MASK).

    `vocabulary` counts everything: the end token, 256 bytes, merges; where the texts hold fewer
    pairs that occur `minimum_frequency` times it becomes smaller (see `get_vocab_size`).
    `single_digits` makes each digit a token of its own, which helps arithmetic and costs length.
    Raises UsageError for a vocabulary that does not hold all bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    names = [END, *special]
    if vocabulary < BYTES + len(names):
        raise UsageError(
            f"a vocabulary of {vocabulary:,} does not hold the {BYTES} bytes and {' '.join(names)}",
            hint=f"at least {BYTES + len(names)}",
        )
    tokenizer = Tokenizer(models.BPE())
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if single_digits:
        cut = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), cut])
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=minimum_frequency,
        special_tokens=names,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def end_id(tokenizer: Tokenizer) -> int:
    """The id of the end-of-document token, one of the `ENDS`. DataError where there is none."""
    for name in ENDS:
        if (found := tokenizer.token_to_id(name)) is not None:
            return int(found)
    raise DataError(f"the tokenizer has no token {END}", hint="nor one of " + ", ".join(ENDS[1:]))


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, without the end token; in parallel over texts."""
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in found]


def decode(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """The text of token ids; the end token gives nothing, broken UTF-8 gives U+FFFD."""
    return tokenizer.decode(list(ids), skip_special_tokens=True)


def fertility(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """Tokens per byte of UTF-8: lower means shorter sequences. NaN where there is no byte."""
    tokens = size = 0
    for text in texts:
        tokens += len(encode(tokenizer, [text])[0])
        size += len(text.encode("utf-8"))
    return tokens / size if size else float("nan")


def save(tokenizer: Tokenizer, folder: str | Path) -> None:
    """A folder that `load` and `transformers.AutoTokenizer` read, its manifest last."""
    folder = Path(folder)
    (folder / NAME).unlink(missing_ok=True)
    write_text(folder / FILES[0], tokenizer.to_str(pretty=True) + "\n")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
    for key, token in (("pad_token", PAD), ("mask_token", MASK)):
        if tokenizer.token_to_id(token) is not None:
            settings[key] = token
    write_json(folder / FILES[1], settings)
    write_manifest(folder, FILES, kind="tokenizer", vocabulary=tokenizer.get_vocab_size())


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer in a folder. DataError where there is none, DamagedError if unreadable."""
    from tokenizers import Tokenizer

    path = Path(folder) / FILES[0]
    if not path.is_file():
        raise DataError(f"holds no {FILES[0]}", where=str(folder))
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DamagedError(f"not a tokenizer: {error}", where=str(path)) from None
    tokenizer.encode_special_tokens = True
    return tokenizer
