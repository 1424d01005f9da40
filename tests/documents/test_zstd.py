"""zstd: read while it is unpacked; damage, cuts and bombs cost the file."""

import io

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.documents.formats import common
from tilth.documents.formats.common import Refused
from tilth.documents.formats.compression import unpacked


def packed(data, **options):
    return zstandard.ZstdCompressor(**options).compress(data)


def test_any_format_may_be_packed(read):
    files = {
        "a.txt.zst": packed(b"text"),
        "b.md.zst": packed(b"# Title\n"),
        "c.html.zst": packed(b"<p>page"),
        "d.jsonl.zst": packed(b'{"text": "one"}\n{"text": "two"}\n'),
        "e.py.zst": packed(b"x = 1"),
        "f.csv.zst": packed(b"text\nrow\n"),
        "g": packed(b"no ending"),
        "two.txt.zst": packed(b"first ") + b"\x50\x2a\x4d\x18\x02\0\0\0.." + packed(b"second"),
        "makefile.zst": packed(b"all:"),
    }
    result = read(files)
    assert result.problems == []
    found = {}
    for d in result.documents:
        found.setdefault(d.source[3:], []).append((d.text, d.format))
    assert found == {
        "a.txt.zst": [("text", "text")],
        "b.md.zst": [("# Title\n", "markdown")],
        "c.html.zst": [("page", "html")],
        "d.jsonl.zst": [("one", "record"), ("two", "record")],
        "e.py.zst": [("x = 1", "code")],
        "f.csv.zst": [("row", "record")],
        "g": [("no ending", "text")],
        "two.txt.zst": [("first second", "text")],
        "makefile.zst": [("all:", "code")],
    }
    code = next(d for d in result.documents if d.source.endswith("e.py.zst"))
    assert code.metadata == {"language_of_code": "python"}


OPTIONS = st.fixed_dictionaries(
    {"level": st.sampled_from([1, 3, 19]), "write_checksum": st.booleans(),
     "write_content_size": st.booleans()}
)  # fmt: skip
CONTENT = st.one_of(
    st.binary(max_size=300), st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 50_000))
    .map(lambda pair: pair[0] * pair[1]),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(content=CONTENT, options=OPTIONS, cut=st.floats(0, 1, exclude_max=True))
def test_whole_frames_are_read_and_every_cut_is_seen(content, options, cut):
    data = packed(content, **options)
    assert unpacked(io.BytesIO(data), "zstd", 10**6).read() == content
    again = unpacked(io.BytesIO(data + data), "zstd", 10**6)
    assert again.read() == content * 2
    size = int(len(data) * cut)
    if size:
        with pytest.raises(Refused, match="damaged"):
            unpacked(io.BytesIO(data[:size]), "zstd", 10**6).read()


def test_lines_before_the_damage_are_kept(read):
    data = packed(b"".join(b'{"text": "line %d"}\n' % (n * 7919 % 10007) for n in range(20_000)))
    result = read({"a.jsonl.zst": data[:-20]})
    (problem,) = result.problems
    assert problem.reason == "damaged" and len(result.documents) > 1000


@pytest.mark.parametrize(
    "data",
    [
        packed(b"text") + b"rubbish",
        b"\x28\xb5\x2f\xfd" + b"\xff" * 40,
        packed(b"some text " * 9, write_checksum=True)[:-1] + b"\0",
    ],
)
def test_damage_is_said(refuse_one, data):
    problem = refuse_one("a.txt.zst", data)
    assert problem.reason == "damaged" and problem.detail.startswith("zstd: ")


def test_windows_beyond_the_limit_are_refused(refuse_one):
    options = zstandard.ZstdCompressionParameters(window_log=31)
    packer = zstandard.ZstdCompressor(compression_params=options).compressobj()
    data = packer.compress(b"text") + packer.flush()
    assert refuse_one("a.txt.zst", data).reason == "damaged"


def test_a_bomb_is_refused_while_it_is_read(refuse_one, monkeypatch):
    monkeypatch.setattr(common, "FREE_BYTES", 1000)
    problem = refuse_one("a.txt.zst", packed(b"a" * 5_000_000))
    assert problem.reason == "too large" and "zstd" in problem.detail


def test_an_empty_content_and_parquet_are_refused(read):
    result = read({"a.txt.zst": packed(b""), "b.parquet.zst": packed(b"PAR1")})
    assert [p.reason for p in result.problems] == ["empty", "unknown format"]
