"""The members of a ZIP archive. Nothing is unpacked to disk; each member is a stream."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from tilth.documents.containers.budget import in_memory, is_hidden, printable, safe_name
from tilth.documents.containers.frames import Frame
from tilth.documents.formats import common
from tilth.documents.formats.common import Refused

if TYPE_CHECKING:
    from tilth.documents.containers.walk import Walker

_ENCRYPTED = 0x1
SHOWN_HIDDEN = 3


def members(walker: Walker, stream: BinaryIO, source: str, depth: int) -> Iterator[Frame | None]:
    """Frames of all members in the order of the archive's table."""
    if not stream.seekable():
        stream = in_memory(stream)
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, KeyError) as error:
        raise Refused("damaged", f"zip: {error}"[:300]) from None
    hidden: list[str] = []
    for info in archive.infolist():
        walker.budget.member()
        if info.filename.endswith("/"):
            yield None
            continue
        try:
            name = safe_name(info.filename)
            if is_hidden(name):
                hidden.append(name)
                yield None
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                raise Refused("link", "links in archives are not followed")
            if info.flag_bits & _ENCRYPTED:
                raise Refused("encrypted", "a member that needs a password")
            member = archive.open(info)
        except Refused as refused:
            name = f"{source}!{printable(info.filename)[:200]}"
            yield refusal(name, refused)
            continue
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError,
                OSError, EOFError) as error:  # fmt: skip
            yield refusal(f"{source}!{name}", Refused("damaged", f"zip: {error}"[:300]))
            continue
        limit = max(common.FREE_BYTES, common.MAX_RATIO * info.compress_size)
        with member:
            yield from walker.member(member, source, name, info.file_size, limit, depth)
    yield from passed_over(source, hidden)


def refusal(source: str, refused: Refused) -> Frame:
    return {
        "kind": "problem", "source": source, "reason": refused.reason, "detail": refused.detail,
        "position": 0,
    }, b""  # fmt: skip


def passed_over(source: str, hidden: list[str]) -> Iterator[Frame]:
    """One problem for all members that are hidden, as for a folder."""
    if hidden:
        detail = ", ".join(sorted(hidden)[:SHOWN_HIDDEN])
        if len(hidden) > SHOWN_HIDDEN:
            detail += f" and {len(hidden) - SHOWN_HIDDEN} more"
        yield refusal(source, Refused("hidden", detail))
