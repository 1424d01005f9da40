"""The numbers of `web_rules` against plain Python over the same words, and the rule sets."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.rules import Rule, decide, parse
from tilth.errors import UsageError
from tilth.signals.rule_sets import RULE_SETS, SIGNAL
from tilth.signals.web_rules import STOP_WORDS, WebRules, warm
from tilth.signals.words_characters import (
    LETTER,
    LINE_MARK,
    PUNCTUATION,
    SENTENCE_MARK,
    VISIBLE,
    character_flags,
)
from tilth.signals.words_table import words_of
from tilth.testing import strategies
from tilth.testing.hostile import TEXTS

FLAGS = character_flags()
POLICIES = (
    "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies".split("|")
)


def batch_of(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])


def has(character: str, flag: int) -> bool:
    code = ord(character)
    return bool(FLAGS[code] & flag) if code < len(FLAGS) else flag == VISIBLE


def some(word: str, flag: int) -> bool:
    return any(has(character, flag) for character in word)


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def repeated(items: list[str]) -> list[str]:
    seen: set[str] = set()
    return [item for item in items if item in seen or seen.add(item)]


def size(items: list[str]) -> int:
    return sum(map(len, items))


def plain(text: str, simple: bool = False) -> dict[str, float | None]:
    tokens = words_of(text, simple=simple)
    words = [word for word in tokens if some(word, VISIBLE)]
    lines = [line.strip() for line in text.splitlines()]
    pieces = re.split("\n+", text) if text else []
    paragraphs = re.split("\n{2,}", text.strip()) if text else []
    count = len(text)
    ellipses = text.count("...") + text.count("\u2026")
    kept, sentences, lorem, braces = c4(text, simple)
    return {
        "gopher_tokens": len(tokens),
        "gopher_words": len(words),
        "gopher_mean_word_length": share(size(words), len(words)),
        "gopher_letter_word_share": share(sum(some(w, LETTER) for w in tokens), len(tokens)),
        "gopher_stop_words": len(set(STOP_WORDS) & set(tokens)),
        "gopher_hash_ratio": share(text.count("#"), len(tokens)),
        "gopher_ellipsis_ratio": share(ellipses, len(tokens)),
        "gopher_bullet_line_share": share(
            sum(line.startswith(("-", "\u2022")) for line in lines), len(lines)
        ),
        "gopher_ellipsis_line_share": share(
            sum(line.endswith(("...", "\u2026")) for line in lines), len(lines)
        ),
        "gopher_duplicate_line_share": share(len(repeated(pieces)), len(pieces)),
        "gopher_duplicate_line_characters_share": share(size(repeated(pieces)), count),
        "gopher_duplicate_paragraph_share": share(len(repeated(paragraphs)), len(paragraphs)),
        "gopher_duplicate_paragraph_characters_share": share(size(repeated(paragraphs)), count),
        **{f"gopher_top_{n}gram_share": share(top(tokens, n), count) for n in (2, 3, 4)},
        **{f"gopher_duplicate_{n}gram_share": share(later(tokens, n), count) for n in range(5, 11)},
        "c4_lines": len(kept),
        "c4_sentences": sentences,
        "c4_characters": len("\n".join(kept)),
        "c4_lorem_ipsum_lines": lorem,
        "c4_brace_lines": braces,
        **fineweb("fineweb", text.split("\n"), len(tokens)),
        **fineweb("fineweb_c4", kept, size([words_of(k, simple=simple) for k in kept])),
    }


def top(words: list[str], n: int) -> int:
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    return max(((len(" ".join(g)) * c, c) for g, c in grams.most_common(1)), default=(0, 0))[0]


def later(words: list[str], n: int) -> int:
    seen, at, found = set(), 0, 0
    while at + n <= len(words):
        gram = tuple(words[at : at + n])
        if gram in seen:
            found += size(list(gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return found


def c4(text: str, simple: bool) -> tuple[list[str], int, int, int]:
    kept, sentences, lorem, braces = [], 0, 0, 0
    for line in text.splitlines():
        line = line.strip()
        chunks = line.split()
        if any(len(chunk) > 1000 for chunk in chunks):
            continue
        line = re.sub(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", "", line)
        if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("..."):
            continue
        # Case is folded within ASCII only.
        lower = re.sub("[A-Z]+", lambda match: match[0].lower(), line)
        if len(chunks) < 3:
            continue
        lorem += "lorem ipsum" in lower
        if "javascript" in lower:
            continue
        braces += "{" in line
        if any(policy in lower for policy in POLICIES):
            continue
        sentences += count_sentences(line, simple)
        kept.append(line if kept else line.lstrip())
    return kept, sentences, lorem, braces


def count_sentences(line: str, simple: bool) -> int:
    """White space that is not one blank counts as a word here, as it begins a sentence."""
    if simple:
        ended = [has(word[-1], SENTENCE_MARK) for word in line.split()]
        return sum(ended[:-1]) + bool(ended)
    items: list[str] = []
    for run in re.findall(r"\s+|\S+", line):
        items += words_of(run) if run.strip() else [run] if run != " " and items else []
    starts, ended = bool(items), False
    for item in items:
        mark = len(item) == 1 and has(item, SENTENCE_MARK)
        if ended and not mark and not all(has(character, PUNCTUATION) for character in item):
            starts, ended = starts + 1, False
        ended = ended or mark
    return starts


def fineweb(name: str, lines: list[str], tokens: int) -> dict[str, float | None]:
    breaks = max(len(lines) - 1, 0)
    whole = size(lines)
    lines = [line for line in lines if line.strip()]
    ended = sum(has(line[-1], LINE_MARK) for line in lines)
    return {
        f"{name}_end_mark_line_share": share(ended, len(lines)),
        f"{name}_short_line_share": share(sum(len(line) <= 30 for line in lines), len(lines)),
        f"{name}_duplicate_line_characters_share": share(
            size(repeated(lines)), whole if lines else 0
        ),
        f"{name}_line_breaks_per_token": share(breaks, tokens),
    }


def compare(texts: list[str], words: str = "english") -> None:
    found = WebRules(words).measure(batch_of(texts)).to_pylist()
    for text, row in zip(texts, found, strict=True):
        expected = plain(text, words == "blanks")
        assert list(row) == list(expected)
        for name, value in row.items():
            assert value == pytest.approx(expected[name], abs=1e-12), (name, text[:500])


@pytest.mark.parametrize("words", ["english", "blanks"])
def test_hard_and_hostile_texts(words: str) -> None:
    hard = runpy.run_path(str(Path(__file__).with_name("hard_documents.py")))["hard_documents"]()
    compare([*hard[:160], *(text[:20_000] for text in TEXTS)], words)


@settings(max_examples=60, deadline=None)
@given(strategies.texts())
def test_any_text(text: str) -> None:
    compare([text])


LINES = st.sampled_from(
    ["One two three.", "[1] Cited here [edit].", "\u00a0x [citation needed] y z.\u00a0", "", " ",
     "- Please enable JAVASCRIPT now.", "We use Cookies {here}!", "Lorem Ipsum and so on.",
     "...", "A b c...", 'He said. "Yes." No?', "\u2022 ab cd ef!", "a\u2028b c d.",
     "Uses cookies; lorem ipsum."]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\n\n", " ", "\x85", "\v"]))))
def test_lines_that_rules_decide_about(parts: list[tuple[str, str]]) -> None:
    text = "".join(line + end for line, end in parts)
    compare([text])
    compare([text], "blanks")


def test_a_huge_word_and_many_quotes() -> None:
    quotes = "'" * 400
    texts = [quotes + "a" * 50_000 + quotes, "b" * 100_000 + " c d.", "a b " + "x" * 1000 + "."]
    compare(texts)
    assert WebRules().measure(batch_of(texts)).column("c4_lines").to_pylist() == [0, 0, 0]


def test_pieces_of_a_batch_give_the_same() -> None:
    texts = ["x" * 3000, "A short one.", "", "Lines.\nLines.\n" * 50, "The end of it. [2]"]
    whole = WebRules().measure(batch_of(texts))
    alone = [WebRules().measure(batch_of([text])) for text in texts]
    assert pa.Table.from_batches(alone).combine_chunks().equals(pa.Table.from_batches([whole]))


def test_known_values() -> None:
    text = "the end of it. the end of it. the end of it.\n- {a} b c.\nSee the cookie policy now."
    row = WebRules().measure(batch_of([text])).to_pylist()[0]
    assert row["gopher_tokens"] == 27
    assert row["gopher_stop_words"] == 2
    assert row["gopher_bullet_line_share"] == pytest.approx(1 / 3)
    assert row["gopher_top_2gram_share"] == pytest.approx(3 * len("the end") / len(text))
    assert row["gopher_duplicate_5gram_share"] == pytest.approx(2 * len("theendofit.") / len(text))
    assert (row["c4_lines"], row["c4_sentences"], row["c4_brace_lines"]) == (2, 4, 1)
    assert row["fineweb_short_line_share"] == pytest.approx(2 / 3)


def test_options_are_part_of_the_name() -> None:
    english, blanks = WebRules().parameters(), WebRules("blanks").parameters()
    assert english["exceptions"] and not blanks["exceptions"]
    assert WebRules(**english).parameters() == english
    with pytest.raises(UsageError, match="blank"):
        WebRules("blank")
    with pytest.raises(UsageError, match="other exceptions"):
        WebRules(exceptions="00")
    warm()


def test_rule_sets_read_known_columns() -> None:
    names = [name for conditions in RULE_SETS.values() for name in conditions]
    assert len(names) == len(set(names))
    used = set()
    for conditions in RULE_SETS.values():
        for name, expression in conditions.items():
            parse(expression, WebRules.columns, name)
            used |= {column for column in WebRules.columns if column in expression.split()}
    # Only these have no threshold of their own.
    assert set(WebRules.columns) - used == {"gopher_tokens", "c4_lines", "c4_characters"}
    assert WebRules.name == SIGNAL


def test_an_empty_text_passes_no_set() -> None:
    table = pa.Table.from_batches([WebRules().measure(batch_of(["", " \n"]))])
    table = table.add_column(0, "id", pa.array(["a", "b"]))
    for name, conditions in RULE_SETS.items():
        rows = decide(table, Rule(conditions, keep_by="gopher_tokens")).to_pylist()
        assert not rows[0]["passed"], name
        assert not rows[1]["passed"] or name == "gopher_repetition"
