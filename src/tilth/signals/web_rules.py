"""The numbers behind four published rule sets for English web text, in one pass.

- Gopher's quality and repetition rules: Rae et al. 2021, "Scaling language models", appendix A1.1.
- C4's line rules: Raffel et al. 2020, "Exploring the limits of transfer learning", section 2.2.
- FineWeb's own rules: Penedo et al. 2024, "The FineWeb datasets", section 3.6.

Use them on crawled English pages; on poems, tables, source code or other languages they drop too
much. The columns are numbers, so the thresholds (`tilth.signals.rule_sets`) can be changed without
measuring again. Counts follow the conventions of datatrove's filters, whose decisions they repeat
for nearly every English document: its words (`tilth.signals.words`), its three ways to cut lines.
The numbers themselves are not promised to be equal. For other scripts see the signals `length`,
`repetition` and `symbols`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.errors import LimitError, UsageError, nearest
from tilth.signals.kernels import text_buffers
from tilth.signals.length import ratio
from tilth.signals.web_kernels import COUNTS, count_web_rules
from tilth.signals.words_characters import character_flags
from tilth.signals.words_table import bytes_hashes, english_digest, english_table

STOP_WORDS = "the be to of and that have with".split()
WORDS = ("english", "blanks")
# Positions have 32 bits, and lines without their citations are kept behind the text.
LARGEST_TEXT = 1_000_000_000

GOPHER_SHARES = [
    *(f"gopher_top_{n}gram_share" for n in (2, 3, 4)),
    *(f"gopher_duplicate_{n}gram_share" for n in range(5, 11)),
]


class WebRules:
    """Columns of the four sets; a share of nothing is null, and so unknown to a rule.

    words: `english` cuts as the filters do (marks are words); `blanks` only at white space, which
        is cheaper, and whose decisions agree with no other tool's.
    exceptions: digest of the table of exceptions, for a record of what was measured; another one
        than this version's is refused.

    - `gopher_tokens`, `gopher_words`: all words, and those that are not only marks;
      `gopher_mean_word_length` in characters; `gopher_letter_word_share`: tokens with a letter;
      `gopher_stop_words`: how many of eight occur. `gopher_hash_ratio`, `gopher_ellipsis_ratio`:
      signs for each token. `gopher_bullet_line_share`, `gopher_ellipsis_line_share`: among lines.
    - `gopher_duplicate_...`: lines, paragraphs and n-grams seen before, as a share of their number
      or of the characters of the text; `gopher_top_...`: the most frequent n-gram.
    - `c4_lines`: lines that C4 would keep; `c4_sentences` and `c4_characters` in them;
      `c4_lorem_ipsum_lines`, `c4_brace_lines`: lines for which it drops the whole page.
    - `fineweb_...`: lines that end with an end mark, short lines, characters in repeated lines, and
      line breaks for each token; `fineweb_c4_...`: the same in what C4 would keep, since FineWeb
      applies its rules after C4's.
    """

    name = "web_rules"
    version = 1
    columns: ClassVar[dict[str, int]] = {
        "gopher_tokens": 0,
        "gopher_words": 0,
        "gopher_mean_word_length": 0,
        "gopher_letter_word_share": 1,
        "gopher_stop_words": 1,
        "gopher_hash_ratio": -1,
        "gopher_ellipsis_ratio": -1,
        "gopher_bullet_line_share": -1,
        "gopher_ellipsis_line_share": -1,
        "gopher_duplicate_line_share": -1,
        "gopher_duplicate_line_characters_share": -1,
        "gopher_duplicate_paragraph_share": -1,
        "gopher_duplicate_paragraph_characters_share": -1,
        **dict.fromkeys(GOPHER_SHARES, -1),
        "c4_lines": 1,
        "c4_sentences": 1,
        "c4_characters": 1,
        "c4_lorem_ipsum_lines": -1,
        "c4_brace_lines": -1,
        "fineweb_end_mark_line_share": 1,
        "fineweb_short_line_share": -1,
        "fineweb_duplicate_line_characters_share": -1,
        "fineweb_line_breaks_per_token": -1,
        "fineweb_c4_end_mark_line_share": 1,
        "fineweb_c4_short_line_share": -1,
        "fineweb_c4_duplicate_line_characters_share": -1,
        "fineweb_c4_line_breaks_per_token": -1,
    }

    def __init__(self, words: str = "english", exceptions: str = "") -> None:
        if words not in WORDS:
            raise UsageError(f"words {words!r} are not known", hint=nearest(words, WORDS))
        known = english_digest() if words == "english" else ""
        if exceptions not in ("", known):
            raise UsageError(
                f"this version has other exceptions than {exceptions!r}", hint="leave it out"
            )
        self.words, self.exceptions = words, known

    def parameters(self) -> dict[str, Any]:
        return {"words": self.words, "exceptions": self.exceptions}

    def fit(self, batches: Iterable[pa.RecordBatch]) -> WebRules:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        offsets, data = text_buffers(batch)
        if len(offsets) > 1 and np.diff(offsets).max() > LARGEST_TEXT:
            raise LimitError(f"a text has more than {LARGEST_TEXT:,} bytes", where=self.name)
        rows = count_web_rules(
            _read_only(offsets), _read_only(data), character_flags(), english_table(),
            bytes_hashes(tuple(STOP_WORDS)), self.words == "blanks",
        )  # fmt: skip
        count = dict(zip(COUNTS, rows.T))
        tokens, characters = count["tokens"], count["characters"]
        breaks = np.maximum(count["kept"] - 1, 0)
        values: list[Any] = [
            *(tokens, count["words"], ratio(count["word_characters"], count["words"])),
            *(ratio(count["lettered"], tokens), count["stop_words"]),
            *(ratio(count[name], tokens) for name in ("hashes", "ellipses")),
            *(ratio(count[name], count["lines"]) for name in ("bullets", "ellipsis_ends")),
            ratio(count["repeated_pieces"], count["pieces"]),
            ratio(count["repeated_piece_characters"], characters),
            ratio(count["repeated_paragraphs"], count["paragraphs"] * (characters > 0)),
            ratio(count["repeated_paragraph_characters"], characters),
            *(ratio(count[f"gram_{n}"], characters) for n in range(2, 11)),
            *(count[name] for name in ("kept", "sentences")),
            count["kept_characters"] + breaks,
            *(count[name] for name in ("lorem_ipsum", "braces")),
            *(ratio(count[name], count["visible"]) for name in ("marked", "short")),
            ratio(
                count["repeated_characters"],
                (characters - count["feeds"]) * (count["visible"] > 0),
            ),
            ratio(count["feeds"], tokens),
            *(ratio(count[name], count["kept"]) for name in ("kept_marked", "kept_short")),
            ratio(count["kept_repeated_characters"], count["kept_characters"]),
            ratio(breaks, count["kept_tokens"]),
        ]
        arrays = [value if isinstance(value, pa.Array) else pa.array(value) for value in values]
        return pa.RecordBatch.from_arrays(arrays, list(self.columns))


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that is not writable: the kernel is compiled for one kind of array only."""
    view = array.view()
    view.flags.writeable = False
    return view


def warm() -> None:
    """Compile the kernel, or load it compiled: seconds the first time on a machine."""
    WebRules().measure(pa.RecordBatch.from_arrays([pa.array(["a"])], ["text"]))
