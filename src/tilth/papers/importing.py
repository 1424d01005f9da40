"""Papers from files and addresses into the library; what could not be taken is listed with reasons.

Nothing goes over the network unless an address is given, and then to that address alone.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tilth.errors import DataError, LimitError
from tilth.papers.formats.common import LARGEST, Bad
from tilth.papers.formats.reading import read_papers
from tilth.papers.library import Library
from tilth.papers.paper import Paper
from tilth.types import Progress, silent

# Papers of one transaction; reasons that are kept.
TOGETHER, KEPT = 500, 1000
# Seconds for an answer to begin, and between its pieces.
PATIENCE = 60.0
_ABSTRACT_PAGE = re.compile(r"https?://(?:www\.)?arxiv\.org/(?:abs|pdf)/([\w./-]+?)(?:\.pdf)?")
API = "https://export.arxiv.org/api/query?id_list="


@dataclass
class Imported:
    """What became of one file: counts as `library.Counts`, and the first `KEPT` bad entries."""

    source: str
    added: int = 0
    merged: int = 0
    known: int = 0
    bad: int = 0
    reasons: list[Bad] = field(default_factory=list)


def import_papers(
    library: Library, given: str | Path, format: str = "", progress: Progress = silent
) -> Imported:
    """Take in a file, or what an address (http, https) answers with; see `formats.reading`.

    An entry that is there already adds nothing, so the same file can be imported again. Raises what
    `read_papers` raises, DataError where an address does not answer.
    """
    if isinstance(given, str) and is_address(given):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "answer"
            path.write_bytes(fetched(api_address(given)))
            host = urlsplit(given).hostname or ""
            return _import(
                library, read_papers(path, format, f"fetched from {host}"), given, progress
            )
    return _import(library, read_papers(given, format), str(given), progress)


def is_address(given: str) -> bool:
    """Whether this is an address, and not a file."""
    return given.startswith(("http://", "https://"))


def api_address(address: str) -> str:
    """The address that is asked: for an abstract's page on arXiv its API, else the address."""
    found = _ABSTRACT_PAGE.fullmatch(address)
    return API + found[1] if found else address


def fetched(address: str) -> bytes:
    """What an address answers with. Raises DataError where it does not, LimitError for too much."""
    import http.client
    import urllib.error
    import urllib.request

    class SameHost(urllib.request.HTTPRedirectHandler):
        """Follows where the same host leads: no other one was named by the user."""

        def redirect_request(self, request: Any, *rest: Any) -> Any:
            to = urlsplit(rest[-1])
            if to.scheme not in ("http", "https") or to.hostname != urlsplit(address).hostname:
                raise DataError(f"leads to {rest[-1][:200]}", where=address,
                                hint="give that address")  # fmt: skip
            return super().redirect_request(request, *rest)

    request = urllib.request.Request(address, headers={"User-Agent": "tilth"})
    # No handler of files and FTP.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
        SameHost, urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler, urllib.request.UnknownHandler,
    ):  # fmt: skip
        opener.add_handler(handler())
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            data = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        raise DataError(f"answers {error.code} {error.reason}", where=address) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"does not answer: {reason}", where=address) from None
    if len(data) > LARGEST:
        raise LimitError(f"answers with more than {LARGEST // 1_000_000} MB", where=address)
    return bytes(data)


def _import(
    library: Library, found: Iterator[Paper | Bad], source: str, progress: Progress
) -> Imported:
    made = Imported(source)
    waiting: list[Paper] = []

    def store() -> None:
        counts = library.add(waiting)
        made.added += counts.added
        made.merged += counts.merged
        made.known += counts.known
        waiting.clear()
        progress("import papers", made.added + made.merged + made.known, 0)

    for one in found:
        if isinstance(one, Bad):
            made.bad += 1
            if made.bad <= KEPT:
                made.reasons.append(one)
            continue
        waiting.append(one)
        if len(waiting) >= TOGETHER:
            store()
    if waiting:
        store()
    return made
