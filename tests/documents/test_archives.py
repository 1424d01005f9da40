"""Archives: members are read as the same files in a folder; names, limits, and nothing on disk."""

import gzip
import io
import os
import signal
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tilth.documents.containers import budget, walk, walking
from tilth.documents.containers.budget import is_hidden, safe_name
from tilth.documents.document import Document
from tilth.documents.formats.common import Refused
from tilth.documents.inputs import plan
from tilth.documents.read import read_unit
from tilth.testing.hostile_files import pdf, pdf_page, tarred, warc_record, zipped


def parquet():
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["row one", "row two"], "n": [1, 2]}), out, row_group_size=1)
    return out.getvalue().to_pybytes()


MEMBERS = {
    "plain.txt": b"caf\xe9",
    "deep/er/page.html": b"<html><title>t</title><p>a page",
    "deep/notes.md": b"# Title\n\ntext\n",
    "deep/makefile": b"all:",
    "rows.csv": b'text,n\n"two\nlines",1\nb,2\n',
    "lines.jsonl": b'{"text": "one", "n": 1}\nnot JSON\n{"text": "two"}\n',
    "packed.jsonl.gz": gzip.compress(b'{"text": "packed"}\n'),
    "packed.txt.zst": zstandard.ZstdCompressor().compress(b"packed"),
    "table.parquet": parquet(),
    "file.pdf": pdf(pdf_page(b"BT /F 12 Tf 20 200 Td (A page) Tj ET")),
    "web.warc": warc_record(b"words of a page"),
    "blank.txt": b" \n",
    "empty.txt": b"",
    "binary.dat": b"\0\1\2",
    "image.png": b"\x89PNG\r\n",
    "no_text.csv": b"a,b\n1,2\n",
    "no_text.jsonl": b'{"a": 1}\n{"a": 2}\n',
}
KINDS = {
    "a.zip": zipped(MEMBERS),
    "a.tar": tarred(MEMBERS),
    "a.tar.gz": gzip.compress(tarred(MEMBERS)),
    "a.tgz": gzip.compress(tarred(MEMBERS)),
    "a.tar.zst": zstandard.ZstdCompressor().compress(tarred(MEMBERS)),
    "noname": zipped(MEMBERS, 0),
}


def described(result, root):
    def below(source):
        assert source.startswith(root)
        return source[len(root) :]

    documents = {
        (below(d.source), d.position, d.text, d.format, tuple(sorted(d.metadata)))
        for d in result.documents
    }
    return documents, {(below(p.source), p.reason, p.position) for p in result.problems}


@pytest.mark.parametrize("name", KINDS)
def test_members_are_read_as_files_are(read, name):
    folder = described(read(MEMBERS), "in/")
    archive = read({name: KINDS[name]}, include=[name])
    assert described(archive, f"in/{name}!") == folder
    assert len(folder[0]) >= 14 and len(folder[1]) >= 7
    # A member is a group as a file is; records are groups of their own.
    groups = {d.source.partition("!")[2]: d.group for d in archive.documents}
    assert groups["plain.txt"] == f"in/{name}!plain.txt"
    assert groups["web.warc"] == f"in/{name}!web.warc#0"


def test_archives_in_archives(read):
    inner = tarred({"text.txt": b"inner", "more.zip": zipped({"text.txt": b"innermost"})})
    packed = {"inner.tar.gz": gzip.compress(inner), "text.txt": b"outer"}
    result = read({"a.zip": zipped(packed), "b.tar": tarred(packed)})
    assert result.problems == []
    assert {d.source: d.text for d in result.documents} == {
        f"in/{name}{way}": text
        for name in ("a.zip", "b.tar")
        for way, text in [
            ("!text.txt", "outer"),
            ("!inner.tar.gz!text.txt", "inner"),
            ("!inner.tar.gz!more.zip!text.txt", "innermost"),
        ]
    }


def test_only_so_many_archives_in_archives(read):
    data = zipped({"text.txt": b"innermost"})
    for _ in range(budget.MAX_DEPTH - 1):
        data = zipped({"text.txt": b"text", "in.zip": data})
    result = read({"well.zip": data, "deep.zip": zipped({"in.zip": data})})
    assert len([d for d in result.documents if d.text == "innermost"]) == 1
    (problem,) = result.problems
    assert problem.source == "in/deep.zip" + "!in.zip" * 4 and problem.reason == "parser limit"


def test_an_archive_without_a_member_is_empty(refuse_one):
    assert refuse_one("a.zip", zipped({})).reason == "empty"


def test_office_documents_and_books_are_named(read):
    files = {"a.docx": zipped({"[Content_Types].xml": b"<x/>"}), "b": zipped({"mimetype": b"x"}, 0)}
    assert [p.reason for p in read(files).problems] == ["unknown format"] * 2


def test_the_same_name_twice_is_two_sources(read):
    inside = io.BytesIO()
    with tarfile.open(fileobj=inside, mode="w") as archive:
        for _ in range(3):
            info = tarfile.TarInfo("a.txt")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
    result = read({"a.tar": inside.getvalue()})
    assert [d.source for d in result.documents] == [
        "in/a.tar!a.txt", "in/a.tar!a.txt (2)", "in/a.tar!a.txt (3)",
    ]  # fmt: skip


def test_hidden_members_are_counted(read):
    names = [".git/a.txt", "b/.c.txt", "__MACOSX/d.txt", ".e"]
    result = read({"a.zip": zipped({name: b"text" for name in [*names, "f.txt"]})})
    assert [d.source for d in result.documents] == ["in/a.zip!f.txt"]
    (problem,) = result.problems
    assert (problem.source, problem.reason) == ("in/a.zip", "hidden")
    assert problem.detail == ".e, .git/a.txt, __MACOSX/d.txt and 1 more"


@given(st.text(st.sampled_from("ab./\\:C\0\udcff\ud800\n"), max_size=20))
def test_no_name_leads_out_of_an_archive(name):
    try:
        safe = safe_name(name)
    except Refused as refused:
        assert refused.reason == "unsafe name"
        # Control characters are dropped first, so they cannot hide two dots.
        shown = name.replace("\0", "").replace("\n", "")
        assert ".." in shown or shown[:1] in "/\\" or ":" in shown
        return
    safe.encode("utf-8")
    assert safe and not safe.startswith("/") and "\0" not in safe
    assert not {"..", ".", ""} & set(safe.split("/"))
    assert os.path.normpath(f"/root/{safe}") != "/root"


def test_what_is_hidden():
    assert is_hidden(".a") and is_hidden("a/.b/c") and is_hidden("__MACOSX/x")
    assert not is_hidden("a.b/c.d")


def test_nothing_is_written_or_followed(tmp_path, read, monkeypatch):
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    link = tarfile.TarInfo("link.txt")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    hard = tarfile.TarInfo("hard.txt")
    hard.type, hard.linkname = tarfile.LNKTYPE, str(secret)
    up = {f"../{name}": b"text" for name in ("up.txt", "in/x.txt")}
    monkeypatch.chdir(tmp_path)
    data = tarred({"link.txt": link, "hard.txt": hard, str(tmp_path / "abs.txt"): b"text", **up})
    files = {"a.tar": data, "b.zip": zipped({str(tmp_path / "abs.txt"): b"text", **up})}
    before = sorted(tmp_path.rglob("*"))
    result = read(files)
    assert result.documents == []
    made = {tmp_path / "in", *(tmp_path / "in" / name for name in files)}
    assert set(tmp_path.rglob("*")) == {*before, *made}
    assert sorted(p.reason for p in result.problems) == ["link"] * 2 + ["unsafe name"] * 6


def walked(tmp_path, data, form, **settings):
    path = tmp_path / "a"
    path.write_bytes(data)
    job = {"path": str(path), "format": form, "source": "a", "start": 0, "stop": len(data),
           "max_document_bytes": 10**6, "max_line_bytes": 10**6, **settings}  # fmt: skip
    return [frame for frame in walk.walk(job) if frame is not None]


@pytest.mark.parametrize(("form", "make"), [("zip", zipped), ("tar", tarred)])
def test_limits_on_members_and_bytes_end_the_walk(tmp_path, monkeypatch, form, make):
    members = {f"{number}.txt": b"text" * 100 for number in range(20)}
    monkeypatch.setattr(budget, "MAX_MEMBERS", 10)
    frames = walked(tmp_path, make(members), form)
    assert sum(header["kind"] == "open" for header, _ in frames) == 10
    assert frames[-1][0]["kind"] == "refused" and "more than 10 members" in frames[-1][0]["detail"]
    monkeypatch.setattr(budget, "MAX_MEMBERS", 100)
    monkeypatch.setattr(budget, "FREE_BYTES", 3000)
    monkeypatch.setattr("tilth.documents.formats.common.MAX_RATIO", 0)
    frames = walked(tmp_path, make(members), form)
    assert sum(len(body) for _, body in frames) <= 3000
    assert [header["reason"] for header, _ in frames[-2:]] == ["too large"] * 2
    assert frames[-1][0]["kind"] == "refused"


def test_a_member_that_is_too_large_costs_itself(read):
    members = {"a.txt": b"x" * 1001, "b.jsonl": b'{"text": "x"}\n' * 100, "c.txt": b"x" * 1000}
    result = read({"a.zip": zipped(members), "b.tar": tarred(members)}, max_document_bytes=1000)
    assert [(p.source, p.reason) for p in result.problems] == [
        ("in/a.zip!a.txt", "too large"), ("in/b.tar!a.txt", "too large"),
    ]  # fmt: skip
    assert len(result.documents) == 202


def test_an_archive_inside_must_fit_into_memory_if_it_is_read_from_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tilth.documents.containers.budget.NESTED_BYTES", 100)
    frames = walked(tmp_path, tarred({"in.zip": zipped({"a.txt": b"text"})}), "tar")
    assert [header["reason"] for header, _ in frames] == ["too large"]


def test_a_walk_goes_on_where_its_child_was_killed(tmp_path):
    members = {f"{n:03}.txt": os.urandom(30_000).hex().encode() for n in range(200)}
    members |= {"rows.csv": b"text\n" + b"".join(b"row %d\n" % n for n in range(2000))}
    path = tmp_path / "a.tar"
    path.write_bytes(tarred(members))
    (unit,), _ = plan([path])
    whole = list(read_unit(unit))
    found = []
    for number, entry in enumerate(read_unit(unit)):
        found.append(entry)
        if number in (3, 120, 1500):
            os.kill(walking._walker()._process.pid, signal.SIGKILL)
    assert found == whole and len(whole) == 2200


def test_two_walks_may_take_turns(tmp_path):
    for name in "ab":
        members = {f"{n}.txt": f"{name} {n} ".encode() * 60_000 for n in range(40)}
        (tmp_path / f"{name}.zip").write_bytes(zipped(members, 0))
    units, _ = plan([tmp_path / "a.zip", tmp_path / "b.zip"])
    apart = [list(read_unit(unit)) for unit in units]
    together = list(zip(*map(read_unit, units)))
    assert [list(side) for side in zip(*together)] == apart
    assert all(isinstance(entry, Document) for entry in apart[0])


def test_a_reader_may_stop_early(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({f"{n}.txt": b"text" for n in range(50)}))
    (unit,), _ = plan([path])
    entries = read_unit(unit)
    assert next(entries).text == "text"
    entries.close()
    assert len(list(read_unit(unit))) == 50
