"""The members of a tar archive, in one pass. Links and devices are listed and never followed."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from tilth.documents.containers.budget import is_hidden, printable, safe_name
from tilth.documents.containers.frames import Frame
from tilth.documents.containers.zip_members import passed_over, refusal
from tilth.documents.formats.common import Refused

if TYPE_CHECKING:
    from tilth.documents.containers.walk import Walker


PIECE_BYTES = 1 << 22


class _Header(tarfile.TarInfo):
    """A header that tells the archive what is wrong with it: `TarFile` takes it for the end."""

    @classmethod
    def fromtarfile(cls, tarfile_: Any) -> Any:
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.EmptyHeaderError, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            tarfile_.damage = str(error)
            raise


def members(walker: Walker, stream: BinaryIO, source: str, depth: int) -> Iterator[Frame | None]:
    """Frames of all members. Raises Refused where the archive breaks off."""
    hidden: list[str] = []
    try:
        archive = tarfile.TarFile.open(fileobj=stream, mode="r|", tarinfo=_Header)
        while (info := archive.next()) is not None:
            walker.budget.member()
            # A list of all members would grow with the archive.
            archive.members.clear()  # type: ignore[attr-defined]
            if info.isdir():
                yield None
                continue
            try:
                name = _name(info)
                if is_hidden(name):
                    hidden.append(name)
                    yield None
                    continue
            except Refused as refused:
                yield refusal(f"{source}!{printable(info.name)[:200]}", refused)
                continue
            member = archive.extractfile(info)
            yield from walker.member(member, source, name, info.size, None, depth)
            # What a member that was given up still holds is passed over piece by piece, and paid
            # for: a member may be a hole without end.
            while member is not None and (data := member.read(PIECE_BYTES)):
                walker.budget.spend(len(data))
                yield None
        damage = getattr(archive, "damage", None)
    except (tarfile.TarError, OverflowError, ValueError) as error:
        damage = str(error)
    yield from passed_over(source, hidden)
    if damage is not None:
        raise Refused("damaged", f"tar: {damage}; what follows was not read")


def _name(info: tarfile.TarInfo) -> str:
    """The member's name. Raises Refused for what is no file, or leads out of the archive."""
    name = safe_name(info.name)
    if info.issym() or info.islnk():
        raise Refused("link", "links in archives are not followed")
    if not info.isreg():
        raise Refused("special file", "neither a file nor a folder")
    return name
