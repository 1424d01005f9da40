"""The n-gram model of order 5 over 30 MB of text: CPU seconds, memory, bits per byte by order;
beside the same estimates by a loop in plain Python, and beside KenLM's `lmplz` where it is.

Run: python benchmarks/ngram.py [--megabytes 30]. Prints a table and, last, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from tilth.models.ngram import FALLBACK, NGram, discounts
from tilth.models.ngram_units import Tokens
from tilth.store.cache import data_folders

ORDER, VOCABULARY = 5, 4096
TOKENIZER_BYTES = 10_000_000
HELD_OUT_BYTES = 2_000_000
LOOP_TOKENS = 200_000  # for the loop in plain Python
GATE_SECONDS = 30


def cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def timed(function, *arguments, **options):
    """The result, and the CPU seconds (user and system) that it took."""
    start = cpu_seconds()
    result = function(*arguments, **options)
    return result, cpu_seconds() - start


def documents() -> tuple[str, list[str]]:
    """English novels where the data are there, else this Python's standard library."""
    for folder in data_folders():
        if (folder / "books_en" / "books.parquet").is_file():
            import pyarrow.parquet as parquet

            table = parquet.read_table(folder / "books_en" / "books.parquet", columns=["text"])
            return "books_en", table["text"].to_pylist()
    paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    return "standard library", [path.read_text("utf-8", "replace") for path in paths]


def up_to(texts: list[str], size: int) -> list[str]:
    """The first texts with at least `size` bytes together."""
    chosen, total = [], 0
    for text in texts:
        if total >= size:
            break
        chosen.append(text)
        total += len(text.encode())
    return chosen


def tokenizer_of(texts: list[str]):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def plain_loop(sequences: list[list[int]], vocabulary: int) -> dict[tuple[int, ...], float]:
    """The probabilities of all n-grams seen, by dictionaries: what a person would write first."""
    begin, end = vocabulary + 1, vocabulary
    counts, before = Counter(), defaultdict(set)
    for sequence in sequences:
        padded = (begin, *sequence, end)
        for stop in range(2, len(padded) + 1):
            for start in range(max(0, stop - ORDER), stop):
                gram = padded[start:stop]
                counts[gram] += 1
                if start:
                    before[gram].add(padded[start - 1])
    levels = [{} for _ in range(ORDER + 1)]
    for gram, count in counts.items():
        raw = len(gram) == ORDER or gram[0] == begin
        levels[len(gram)][gram] = count if raw else len(before[gram])
    probability = {}
    for level in levels[1:]:
        n = Counter(level.values())
        cut = (0, *(discounts([n[1], n[2], n[3], n[4]]) or FALLBACK))
        total, saved = defaultdict(int), defaultdict(float)
        for gram, count in level.items():
            total[gram[:-1]] += count
            saved[gram[:-1]] += cut[min(count, 3)]
        for gram, count in level.items():
            context = gram[:-1]
            lower = probability[gram[1:]] if context else 1 / (vocabulary + 1)
            own = count - cut[min(count, 3)] + saved[context] * lower
            probability[gram] = own / total[context]
    return probability


def lmplz_seconds(tokens: np.ndarray, offsets: np.ndarray) -> float | None:
    """CPU seconds of KenLM's estimation over the same tokens written as words."""
    program = shutil.which("lmplz")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "tokens.txt"
        with open(text, "w", encoding="ascii") as file:
            for start, stop in pairwise(offsets):
                file.write(" ".join(map(str, tokens[start:stop].tolist())) + "\n")
        before = cpu_seconds(resource.RUSAGE_CHILDREN)
        command = [program, "-o", str(ORDER), "-S", "4G", "-T", folder, "--discount_fallback"]
        with open(text, "rb") as source:
            # Its ARPA file is thrown away: the text form is no part of the estimation.
            subprocess.run(
                command,
                stdin=source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        return cpu_seconds(resource.RUSAGE_CHILDREN) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=30.0, help="size of the training text")
    size = int(parser.parse_args().megabytes * 1e6)
    name, texts = documents()
    # Long texts are cut, so that "about 30 MB" is not a book off.
    pieces = [text[i : i + 100_000] for text in texts for i in range(0, len(text), 100_000)]
    training = up_to(pieces, size)
    held_out = up_to(pieces[len(training) :], HELD_OUT_BYTES)
    if not held_out:
        sys.exit(f"{name} has too little text: ask for fewer --megabytes")
    unit = Tokens(tokenizer_of(up_to(pieces, TOKENIZER_BYTES)))
    data, test = unit.encode(training), unit.encode(held_out)
    test_bytes = sum(len(text.encode()) for text in held_out)
    # Compilation apart: a first small run loads or makes the kernels.
    small = NGram.train(data.tokens[:1000], np.array([0, 1000]), vocabulary=VOCABULARY)
    small.score(data.tokens[:1000], np.array([0, 1000]))

    rows = []
    bits_per_byte = {}
    for order in range(1, ORDER + 1):
        model, seconds = timed(
            NGram.train, data.tokens, data.offsets, vocabulary=VOCABULARY, order=order
        )
        scores, score_seconds = timed(model.score, test.tokens, test.offsets)
        bits_per_byte[order] = float(-scores.sum() / np.log(2) / test_bytes)
        rows.append((order, sum(model.counts), seconds, score_seconds, bits_per_byte[order]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

    part = data.tokens[:LOOP_TOKENS]
    edges = np.array([0, len(part)])
    quick, quick_seconds = timed(NGram.train, part, edges, vocabulary=VOCABULARY, order=ORDER)
    loop, loop_seconds = timed(plain_loop, [part.tolist()], VOCABULARY)
    padded = (VOCABULARY + 1, *part.tolist(), VOCABULARY)
    expected = [loop[padded[max(0, i - ORDER + 1) : i + 1]] for i in range(1, len(padded))]
    same = np.allclose(quick.score(part, edges), np.log(expected), rtol=0, atol=1e-5)
    kenlm = lmplz_seconds(data.tokens, data.offsets)

    train_bytes = sum(len(text.encode()) for text in training)
    print(f"{name}: {train_bytes / 1e6:.1f} MB, {len(data.tokens):,} tokens of {VOCABULARY}")
    print(f"{'order':>5} {'n-grams':>12} {'train CPU s':>12} {'score CPU s':>12} {'bits/byte':>10}")
    for order, grams, seconds, score_seconds, bits in rows:
        print(f"{order:>5} {grams:>12,} {seconds:>12.2f} {score_seconds:>12.2f} {bits:>10.4f}")
    seconds = rows[-1][2]
    print(f"gate: {seconds:.1f} of {GATE_SECONDS} CPU s; peak of this process {peak:.2f} GB")
    print(
        f"plain Python loop over {len(part):,} tokens: {loop_seconds:.2f} CPU s, "
        f"tilth {quick_seconds:.3f}; the same probabilities: {same}"
    )
    if kenlm is None:
        print("KenLM: the program lmplz is not installed, so it is not measured")
    else:
        print(f"KenLM's lmplz over all tokens: {kenlm:.1f} CPU s (written to and read as text)")
    figures = {
        "data": name,
        "bytes": train_bytes,
        "tokens": len(data.tokens),
        "train_cpu_seconds": round(seconds, 2),
        "gate_met": seconds <= GATE_SECONDS,
        "tokens_per_cpu_second": round(len(data.tokens) / seconds),
        "scored_tokens_per_cpu_second": round(len(test.tokens) / rows[-1][3]),
        "bits_per_byte": {order: round(bits, 4) for order, bits in bits_per_byte.items()},
        "peak_gigabytes": round(peak, 2),
        "plain_loop_over_tilth": round(loop_seconds / quick_seconds, 1),
        "same_as_plain_loop": bool(same),
        "lmplz_over_tilth": None if kenlm is None else round(kenlm / seconds, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
