"""Masking of personal data: a placeholder for each item (as Subramani et al. 2023 survey it).

E-mail addresses, telephone numbers, IBANs and cards with their check digits, public IP addresses,
passwords in URLs, national numbers with check digits, and names from a list. See
`personal_detectors` for what counts, and what does not.

Use it before training or publishing, to lower the risk that a model repeats somebody's number. It
does not make texts anonymous: names, addresses and events stay. Not before work that needs the
numbers, such as matching records.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.shingle_kernels import text_buffers
from tilth.corpus.transforms.base import Edit, Edited, identity
from tilth.corpus.transforms.personal_detectors import KINDS, Found, find
from tilth.corpus.transforms.personal_kernels import byte_classes, places
from tilth.documents.document import Span
from tilth.errors import DataError, UsageError, nearest
from tilth.store.digest import digest

PLACEHOLDERS = {kind: f"<{kind.upper()}>" for kind in (*KINDS, "name")}
_WORDS = re.compile(r"[^\W_]+(?:['\u2019\-.][^\W_]+)*")


class Personal(Edit):
    """Put `<EMAIL>`, `<PHONE>`, `<IBAN>`, `<CARD>`, `<IP>`, `<CREDENTIAL>`, `<NATIONAL_ID>` or
    `<NAME>` in the place of each item.

    `kinds`: which, all where empty. `names`: a text file with one name a line, each replaced where
    it stands as whole words in the same case; its digest is `names_digest`, and a file with another
    one is refused. Metadata get `{"personal": {kind: count}}`, never the items themselves.
    """

    name = "personal"
    version = 1

    def __init__(
        self, *, kinds: Sequence[str] = (), names: str = "", names_digest: str = ""
    ) -> None:
        self.kinds = checked_kinds(kinds)
        self.names = names
        self._names = Names(names) if names else None
        self.names_digest = self._names.digest if self._names else ""
        if names_digest and names_digest != self.names_digest:
            raise UsageError(f"{names or 'no file'} is not the list of names that was asked for")

    def parameters(self) -> dict[str, Any]:
        return {"kinds": list(self.kinds), "names": self.names, "names_digest": self.names_digest}

    def touches(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        touched = np.full(batch.num_rows, self._names is not None)
        touched[places(*text_buffers(batch.column("text")), byte_classes())[0]] = True
        return pa.array(touched)

    def edits(self, batch: pa.RecordBatch, rows: Sequence[int]) -> Iterable[list[Edited]]:
        texts = batch.column("text").take(pa.array(rows, pa.int64()))
        found = find(texts, self.kinds)
        for row, text in enumerate(texts.to_pylist()):
            items = found.get(row, [])
            if self._names is not None:
                items = merged(items, self._names.find(text or ""))
            yield [masked(text, items)] if items else identity(text or "")


def checked_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """`kinds` in their own order, all where none is given."""
    if isinstance(kinds, str):
        raise UsageError("kinds must be a list", hint=f'kinds = ["{kinds}"]')
    for kind in kinds:
        if kind not in KINDS:
            hint = nearest(kind, KINDS)
            raise UsageError(f"no personal data are called {kind!r}", hint=hint)
    return tuple(kind for kind in KINDS if not kinds or kind in kinds)


def masked(text: str, items: Sequence[Found]) -> Edited:
    """The text with a placeholder for each item, and where the rest comes from."""
    data = text.encode()
    parts: list[bytes] = []
    spans: list[Span] = []
    at = reached = 0
    for start, stop, kind in items:
        placeholder = PLACEHOLDERS[kind].encode()
        if start > reached:
            spans.append(Span(at, at + start - reached, reached, start))
        at += start - reached
        # Equal sides would say that nothing changed.
        if len(placeholder) != stop - start:
            spans.append(Span(at, at + len(placeholder), start, stop))
        parts += [data[reached:start], placeholder]
        at, reached = at + len(placeholder), stop
    if reached < len(data):
        spans.append(Span(at, at + len(data) - reached, reached, len(data)))
    parts.append(data[reached:])
    counts = dict(sorted(Counter(kind for _, _, kind in items).items()))
    return Edited(b"".join(parts).decode(), spans, {"personal": counts})


def merged(items: Sequence[Found], others: Sequence[Found]) -> list[Found]:
    """Both, sorted; of `others` those that overlap none of `items`."""
    starts = np.array([item.start for item in items])
    stops = np.array([item.stop for item in items])
    free = [
        other
        for other in others
        if np.searchsorted(stops, other.start, "right") == np.searchsorted(starts, other.stop)
    ]
    return sorted([*items, *free])


class Names:
    """A list of names, found as whole words. Names of several words have single blanks."""

    def __init__(self, path: str) -> None:
        try:
            lines = Path(path).read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the list of names cannot be read: {error}", where=path) from None
        split = [tuple(_WORDS.findall(line)) for line in lines if not line.startswith("#")]
        names = sorted({words for words in split if words}, key=lambda words: (-len(words), words))
        if not names:
            raise DataError("holds no name", where=path)
        self.digest = digest(*(" ".join(words) for words in names))
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for words in names:
            self._by_first.setdefault(words[0], []).append(words)

    def find(self, text: str) -> list[Found]:
        """The names in a text, the longest at each place."""
        found = list(self._in_characters(text))
        if text.isascii():
            return found
        result, at, size = [], 0, 0
        for start, stop, kind in found:
            size += len(text[at:start].encode())
            width = len(text[start:stop].encode())
            result.append(Found(size, size + width, kind))
            at, size = stop, size + width
        return result

    def _in_characters(self, text: str) -> Iterator[Found]:
        words = list(_WORDS.finditer(text))
        skip_to = 0
        for number, match in enumerate(words):
            if number < skip_to or match[0] not in self._by_first:
                continue
            for name in self._by_first[match[0]]:
                here = words[number : number + len(name)]
                if tuple(word[0] for word in here) != name:
                    continue
                # Between the words of a name there are blanks only.
                if not any(text[one.end() : two.start()].strip() for one, two in pairwise(here)):
                    yield Found(match.start(), here[-1].end(), "name")
                    skip_to = number + len(name)
                    break
