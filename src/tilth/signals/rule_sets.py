"""Ready-made conditions with the thresholds of the papers, over the columns of `web_rules`.

`RULE_SETS` maps a set's name to its conditions, each named by what a kept document is like, so that
a reason reads "gopher: enough words". Take a set as it is, or change a threshold: nothing is
measured again. `fineweb` judges the text as it is, `fineweb_after_c4` what C4's line rules leave of
it, as in FineWeb's own order of steps; use the second together with `c4`.

The papers: see `tilth.signals.web_rules`. FineWeb's line break rule comes from its code.
"""

from __future__ import annotations

from collections.abc import Iterable

from tilth.errors import UsageError, nearest

SIGNAL = "web_rules"
"""The signal whose columns the conditions read; it must be measured before."""

_TOP = {2: 0.2, 3: 0.18, 4: 0.16}
_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}


def _fineweb(columns: str, name: str) -> dict[str, str]:
    return {
        f"{name}: lines with end marks": f"{columns}_end_mark_line_share >= 0.12",
        f"{name}: few short lines": f"{columns}_short_line_share <= 0.67",
        f"{name}: few repeated lines": f"{columns}_duplicate_line_characters_share <= 0.01",
        f"{name}: not a list": f"{columns}_line_breaks_per_token <= 0.3",
    }


RULE_SETS: dict[str, dict[str, str]] = {
    "gopher_quality": {
        "gopher: enough words": "gopher_words >= 50",
        "gopher: not too many words": "gopher_words <= 100000",
        "gopher: words not too short": "gopher_mean_word_length >= 3",
        "gopher: words not too long": "gopher_mean_word_length <= 10",
        "gopher: few hash signs": "gopher_hash_ratio <= 0.1",
        "gopher: few ellipses": "gopher_ellipsis_ratio <= 0.1",
        "gopher: few bullets": "gopher_bullet_line_share <= 0.9",
        "gopher: few lines cut off": "gopher_ellipsis_line_share <= 0.3",
        "gopher: words with letters": "gopher_letter_word_share >= 0.8",
        "gopher: common words": "gopher_stop_words >= 2",
    },
    "gopher_repetition": {
        "gopher: few repeated lines": "gopher_duplicate_line_share <= 0.3",
        "gopher: little text in them": "gopher_duplicate_line_characters_share <= 0.2",
        "gopher: few repeated paragraphs": "gopher_duplicate_paragraph_share <= 0.3",
        "gopher: little text in these": "gopher_duplicate_paragraph_characters_share <= 0.2",
        **{
            f"gopher: no {n}-gram too often": f"gopher_top_{n}gram_share <= {share}"
            for n, share in _TOP.items()
        },
        **{
            f"gopher: few repeated {n}-grams": f"gopher_duplicate_{n}gram_share <= {share}"
            for n, share in _DUPLICATE.items()
        },
    },
    "c4": {
        "c4: enough sentences": "c4_sentences >= 5",
        "c4: no lorem ipsum": "c4_lorem_ipsum_lines = 0",
        "c4: no curly brackets": "c4_brace_lines = 0",
    },
    "fineweb": _fineweb("fineweb", "fineweb"),
    "fineweb_after_c4": _fineweb("fineweb_c4", "fineweb after c4"),
}


def conditions_of(sets: Iterable[str]) -> dict[str, str]:
    """The conditions of all these sets, in order. Raises UsageError for one that is not there."""
    conditions: dict[str, str] = {}
    for name in sets:
        if name not in RULE_SETS:
            raise UsageError(f"there is no set of rules {name!r}", hint=nearest(name, RULE_SETS))
        conditions.update(RULE_SETS[name])
    return conditions
