"""The side of datatrove in `curate.py`: run by the interpreter of its own environment.

Run: PYTHON _datatrove.py JOB, where JOB is a JSON object: what to do, on which files. It prints one
JSON object, with the CPU seconds of the work itself: after imports, with the tokenizer loaded.
Nothing of tilth is imported here.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import warnings
from pathlib import Path

WARM_UP = "One short text, so that the tokenizer is there before the clock starts."


def cpu_seconds() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


class Blanks:
    """Words between white space; a sentence ends at a word whose last character is an end mark."""

    def word_tokenize(self, text):
        return text.split()

    def sent_tokenize(self, text):
        return [text[start:stop] for start, stop in self.span_tokenize(text)]

    def span_tokenize(self, text):
        from spacy.pipeline.sentencizer import Sentencizer

        marks = tuple(Sentencizer.default_punct_chars)
        spans, start, at = [], 0, 0
        words = text.split()
        for number, word in enumerate(words):
            at = text.index(word, at) + len(word)
            if word.endswith(marks) or number == len(words) - 1:
                spans.append((start, at))
                start = at
        return spans


def use_blanks():
    """Both sides on one splitter: datatrove asks for its tokenizer by this name."""
    from datatrove.utils import word_tokenizers

    splitter = Blanks()
    word_tokenizers.load_word_tokenizer = lambda language: splitter


def warm_up(job):
    from datatrove.utils.text import split_into_sentences, split_into_words

    if job["words"] == "blanks":
        use_blanks()
    split_into_words(WARM_UP)
    split_into_sentences(WARM_UP)


def run(pipeline, folder, name, tasks=1):
    from datatrove.executor import LocalPipelineExecutor

    logs = Path(folder) / f"logs-{name}"
    LocalPipelineExecutor(
        pipeline=pipeline, tasks=tasks, workers=1, logging_dir=str(logs), skip_completed=False
    ).run()


def reader(path):
    from datatrove.pipeline.readers import JsonlReader

    path = Path(path)
    return JsonlReader(str(path.parent), glob_pattern=path.name, compression=None)


def writer(folder):
    from datatrove.pipeline.writers import JsonlWriter

    return JsonlWriter(str(folder), compression=None)


def rule_filters():
    """The four sets in the order of the FineWeb recipe."""
    from datatrove.pipeline import filters

    return [
        filters.GopherRepetitionFilter(),
        filters.GopherQualityFilter(),
        filters.C4QualityFilter(),
        filters.FineWebQualityFilter(),
    ]


def rules(job):
    """Read, filter, write what is kept: its text as C4 left it."""
    run([reader(job["input"]), *rule_filters(), writer(job["output"])], job["folder"], "rules")


def single_rules():
    """Each rule alone: the filter with all others switched off, named as in tilth's rule sets."""
    from datatrove.pipeline import filters

    quality = dict.fromkeys(
        "min_doc_words max_doc_words min_avg_word_length max_avg_word_length max_symbol_word_ratio "
        "max_bullet_lines_ratio max_ellipsis_lines_ratio max_non_alpha_words_ratio "
        "min_stop_words".split()
    )
    repetition = dict.fromkeys(
        ["dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"]
    )
    repetition.update(top_n_grams=(), dup_n_grams=())
    fineweb = {
        "line_punct_thr": -1.0,
        "short_line_thr": 9.0,
        "char_duplicates_ratio": 9.0,
        "new_line_ratio": 1e9,
    }

    def gopher(**own):
        return filters.GopherQualityFilter(**{**quality, **own})

    def repeated(**own):
        return filters.GopherRepetitionFilter(**{**repetition, **own})

    def lines(**own):
        return filters.FineWebQualityFilter(**{**fineweb, **own})

    def c4(sentences=-1, lorem=False, bracket=False):
        return filters.C4QualityFilter(
            min_num_sentences=sentences, filter_lorem_ipsum=lorem, filter_curly_bracket=bracket
        )

    sets = {
        "gopher_quality": {
            "gopher: enough words": gopher(min_doc_words=50),
            "gopher: not too many words": gopher(max_doc_words=100000),
            "gopher: words not too short": gopher(min_avg_word_length=3),
            "gopher: words not too long": gopher(max_avg_word_length=10),
            "gopher: few hash signs": SymbolRule("#", ("#",)),
            "gopher: few ellipses": SymbolRule("...", ("...", "\u2026")),
            "gopher: few bullets": gopher(max_bullet_lines_ratio=0.9),
            "gopher: few lines cut off": gopher(max_ellipsis_lines_ratio=0.3),
            "gopher: words with letters": gopher(max_non_alpha_words_ratio=0.8),
            "gopher: common words": gopher(min_stop_words=2),
        },
        "gopher_repetition": {
            "gopher: few repeated lines": repeated(dup_line_frac=0.3),
            "gopher: little text in them": repeated(dup_line_char_frac=0.2),
            "gopher: few repeated paragraphs": repeated(dup_para_frac=0.3),
            "gopher: little text in these": repeated(dup_para_char_frac=0.2),
        },
        "c4": {
            "c4: enough sentences": c4(sentences=5),
            "c4: no lorem ipsum": c4(lorem=True),
            "c4: no curly brackets": c4(bracket=True),
        },
    }
    for n, share in ((2, 0.2), (3, 0.18), (4, 0.16)):
        rule = repeated(top_n_grams=((n, share),))
        sets["gopher_repetition"][f"gopher: no {n}-gram too often"] = rule
    for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)):
        rule = repeated(dup_n_grams=((n, share),))
        sets["gopher_repetition"][f"gopher: few repeated {n}-grams"] = rule
    sets["fineweb"] = {
        "fineweb: lines with end marks": lines(line_punct_thr=0.12),
        "fineweb: few short lines": lines(short_line_thr=0.67),
        "fineweb: few repeated lines": lines(char_duplicates_ratio=0.01),
        "fineweb: not a list": lines(new_line_ratio=0.3),
    }
    return sets


class SymbolRule:
    """One half of Gopher's symbol rule, which the filter has no switch for, on its own words."""

    def __init__(self, name, signs):
        self.name, self.signs = name, signs

    def filter(self, document):
        from datatrove.utils.text import split_into_words

        words = len(split_into_words(document.text, "eng"))
        return sum(document.text.count(sign) for sign in self.signs) / words <= 0.1


def passes(rule, text):
    """(kept, the text that the filter leaves); None where the filter fails on such a text."""
    from datatrove.data import Document

    document = Document(text=text, id="")
    try:
        result = rule.filter(document)
    except (ZeroDivisionError, ValueError):
        return None, text
    return bool(result[0] if isinstance(result, tuple) else result), document.text


def decide(job):
    """Decisions of each rule alone, of each set, and of all, one JSON line a document."""
    from datatrove.pipeline import filters

    warnings.filterwarnings("ignore")
    alone = single_rules()
    whole = dict(zip(["gopher_repetition", "gopher_quality", "c4", "fineweb"], rule_filters()))
    left = filters.C4QualityFilter(
        min_num_sentences=-1, filter_lorem_ipsum=False, filter_curly_bracket=False
    )
    with open(job["input"], encoding="utf-8") as source, open(job["output"], "w") as target:
        for line in source:
            text = json.loads(line)["text"]
            found, sets = {}, {}
            for name, conditions in alone.items():
                for condition, rule in conditions.items():
                    found[condition] = passes(rule, text)[0]
                sets[name] = passes(whole[name], text)[0]
            after = passes(left, text)[1]
            for condition, rule in alone["fineweb"].items():
                named = condition.replace("fineweb:", "fineweb after c4:")
                found[named] = passes(rule, after)[0]
            sets["fineweb_after_c4"] = passes(whole["fineweb"], after)[0]
            chain = ("gopher_repetition", "gopher_quality", "c4", "fineweb_after_c4")
            everything = all(sets[name] for name in chain)
            row = {"rules": found, "sets": sets, "all": everything}
            if job.get("numbers"):
                row["numbers"] = numbers(text, after)
            target.write(json.dumps(row) + "\n")


def numbers(text, after):
    """What the filters count, by datatrove's own functions."""
    from datatrove.utils.text import split_into_sentences, split_into_words

    lines = [line for line in after.split("\n") if line.strip()]
    return {
        "tokens": len(split_into_words(text, "eng")),
        "kept_lines": len(lines),
        "kept_characters": len(after) if lines else 0,
        "sentences": sum(len(split_into_sentences(line, "eng")) for line in lines),
    }


def minhash(job, source, steps=4):
    """Signatures, buckets, clusters, and what is left written; datatrove's own settings."""
    from datatrove.pipeline import dedup

    config = dedup.MinhashConfig(num_buckets=14, hashes_per_bucket=8)
    base = Path(job["folder"])
    signed, paired, removed = (str(base / name) for name in ("signed", "paired", "removed"))
    run([reader(source), dedup.MinhashDedupSignature(signed, config=config)], base, "sign")
    if steps == 1:
        return
    run([dedup.MinhashDedupBuckets(signed, paired, config=config)], base, "buckets", 14)
    run([dedup.MinhashDedupCluster(paired, removed, config=config)], base, "cluster")
    run([reader(source), dedup.MinhashDedupFilter(removed), writer(job["output"])], base, "filter")


def signatures(job):
    minhash(job, job["input"], steps=1)


def chain(job):
    minhash(job, job["input"])


def pipeline(job):
    """The rules, then near-duplicates among what they keep."""
    kept = Path(job["folder"]) / "kept"
    rules({**job, "output": str(kept)})
    minhash(job, next(kept.glob("*.jsonl")))


JOBS = {
    "rules": rules,
    "decide": decide,
    "signatures": signatures,
    "chain": chain,
    "pipeline": pipeline,
}


def main():
    from loguru import logger

    logger.remove()
    job = json.loads(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        warm_up(job)
        start = cpu_seconds()
        JOBS[job["job"]](job)
        seconds = cpu_seconds() - start
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main() if len(sys.argv) > 1 else print(__doc__)
