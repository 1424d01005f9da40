"""Files of papers: what each format gives, bad entries that cost themselves, hostile input."""

import html
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DataError, LimitError, UsageError
from tilth.papers import importing
from tilth.papers.builtin import open_library
from tilth.papers.formats import FORMATS, common, json_lines
from tilth.papers.formats.common import Bad, arxiv_address, year_in
from tilth.papers.formats.reading import read_papers, sniffed
from tilth.papers.importing import import_papers
from tilth.papers.library import Library
from tilth.papers.paper import Paper, clean_address, clean_text, made_paper

SHARED = Path(__file__).parents[3] / "shared" / "papers.jsonl"

BIB = r"""
@string{conf = "A Conference"}
@comment{nothing}
@inproceedings{one,
  title = {{Tilth}: \"Uber {LLM}s, 50% of $O(n^2)$ --- \'etudes},
  author = "Bee, Ann and {The Team} and M{\"u}ller, J{\'o}s{\'e}",
  booktitle = conf, year = 2023, eprint = {2308.00001}, archivePrefix = {arXiv},
  abstract = {One.
    Two.}
}
@misc{one, title = {The same key}, date = "2001-05-01", url = {\url{https://example.org/a_b}}}
@article{open, title = {Never closed, year = 1
@book{three, author = {Dee, C.}, title = "", year = 2020}
@misc{four, title = {Twice a year}, year = 1999, year = 2000, doi = {10.1/x}}
@misc{deep, title = {DEEP}}
words between
@misc{end,
""".replace("DEEP", "{" * 3000 + "x" + "}" * 3000)

ATOM = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>arXiv Query</title>
<entry><id>http://arxiv.org/abs/2308.00001v2</id><published>2023-08-01T00:00:00Z</published>
<title>Tilth:
  a study of &lt;soil&gt;</title><summary> An abstract. </summary>
<author><name>Ann Bee</name></author><author><name>C. Dee</name></author></entry>
<entry><id>http://arxiv.org/api/errors#1</id><title>Error</title><summary>bad id</summary></entry>
<entry><id>urn:x</id><title>Without an address</title></entry>
</feed>"""

PROPS = {
    "dailyPapers": [
        {"title": "Tilth: a study", "paper": {
            "id": "2308.00001", "title": "Tilth: a \"study\" of <soil>", "summary": "An abstract.",
            "publishedAt": "2023-08-01T00:00:00.000Z", "upvotes": 7,
            "authors": [{"name": "Ann Bee"}, {"name": "Gone", "hidden": True}]}},
        {"paper": {"id": "other-id", "title": "Second", "authors": [{"name": "C. Dee"}]}},
        {"paper": {"id": "2308.00003", "title": "--", "summary": "no title"}},
    ],
    "lastDate": "2023-08-02",
}  # fmt: skip


def page(*carriers):
    """A saved page in the form of the site: the JSON of each part in its attribute."""
    parts = "".join(f'<div data-target="X" data-props="{html.escape(c)}"></div>' for c in carriers)
    return f"<!doctype html><html><head><title>Papers</title></head><body>{parts}</body></html>"


def read(tmp_path, content, **how):
    path = tmp_path / "given"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return parted(read_papers(path, **how))


def parted(found):
    found = list(found)
    return [p for p in found if isinstance(p, Paper)], [b for b in found if isinstance(b, Bad)]


def test_bibtex_gives_its_entries_in_plain_text(tmp_path):
    papers, bad = read(tmp_path, BIB)
    first, same_key, twice = papers
    assert first.title == "Tilth: Über LLMs, 50% of $O(n^2)$ — études"
    assert first.authors == ("Ann Bee", "The Team", "Jósé Müller") and first.year == 2023
    assert first.abstract == "One. Two." and first.address == "https://arxiv.org/abs/2308.00001"
    assert (same_key.title, same_key.year) == ("The same key", 2001)
    assert same_key.address == "https://example.org/a_b"
    assert twice.title == "Twice a year" and twice.address == "https://doi.org/10.1/x"
    assert [one.reason for one in bad] == [
        "its braces or quotes never close", "has no title", "its braces are nested too deeply",
        "its braces or quotes never close",
    ]  # fmt: skip
    assert bad[0].where == "line 12"
    latin = '@misc{a, title = {Müller}, year = "1999"}'.encode("latin-1")
    assert read(tmp_path, latin)[0][0].title == "Müller"


def test_atom_gives_its_entries_and_what_stands_before_a_fault(tmp_path):
    papers, bad = read(tmp_path, ATOM)
    assert [paper.title for paper in papers] == ["Tilth: a study of <soil>", "Without an address"]
    assert papers[0].authors == ("Ann Bee", "C. Dee") and papers[0].year == 2023
    assert papers[0].address == "https://arxiv.org/abs/2308.00001" and papers[1].address == ""
    assert bad == [Bad("line 7", "arXiv says: bad id")]
    papers, bad = read(tmp_path, ATOM.replace("Without", "With & out"))
    assert len(papers) == 1 and "no XML from here on" in bad[1].reason
    sixteen = ATOM.replace("UTF-8", "UTF-16").encode("utf-16")
    assert read(tmp_path, sixteen)[0] == read(tmp_path, ATOM)[0]


def test_a_saved_page_of_hugging_face_gives_what_its_data_hold(tmp_path):
    papers, bad = read(
        tmp_path, page('{"user": null}', json.dumps(PROPS), "{half", json.dumps(PROPS))
    )
    assert [paper.title for paper in papers] == ['Tilth: a "study" of <soil>', "Second"]
    assert papers[0].authors == ("Ann Bee",) and papers[0].year == 2023
    assert papers[0].abstract == "An abstract."
    assert [paper.address for paper in papers] == [
        "https://arxiv.org/abs/2308.00001", "https://huggingface.co/papers/other-id",
    ]  # fmt: skip
    assert [one.reason.partition(":")[0] for one in bad] == [
        "has no title",
        "its data-props is no JSON",
    ]
    with pytest.raises(DataError, match="carries no data-props"):
        read(tmp_path, "<html><body>nothing</body></html>")


def test_json_lines_cost_a_line_each(tmp_path):
    good = {"title": "Tilth", "authors": ["Ann Bee", {"name": "C. Dee"}, 3], "year": "in 2020",
            "url": "javascript:alert(1)", "abstract": "A.\n\nB.", "sheet": "x"}  # fmt: skip
    lines = [
        json.dumps(good), "{", "[1]", '{"title": 3}', '{"abstract": "no title"}', "",
        '{"title": "' + "x" * 1001 + '"}', "[" * 100_000, '{"title": "Last", "slug": "../x"}',
        '{"title": "\\ud800\\u202e \\u0000 lone"}',
    ]  # fmt: skip
    papers, bad = read(tmp_path, b"\xef\xbb\xbf" + "\n".join(lines).encode() + b"\n{\xff}\n")
    assert [paper.title for paper in papers] == ["Tilth", "Last", "lone"]
    assert papers[0].authors == ("Ann Bee", "C. Dee") and papers[0].year == 2020
    assert papers[0].address == "" and papers[0].abstract == "A.\n\nB."
    assert [(one.where, one.reason[:22]) for one in bad] == [
        ("line 2", "is no JSON"), ("line 3", "is no object"), ("line 4", "its title is no text"),
        ("line 5", "has no title"), ("line 7", "its title has 1,001 ch"), ("line 8", "is no JSON"),
        ("line 11", "is not UTF-8"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_importing_twice_adds_nothing(tmp_path, name):
    lines = "".join(f'{{"title": "{title}"}}\n' for title in ("Tilth", "TILTH!", ""))
    content = {"bibtex": BIB, "atom": ATOM, "huggingface": page(json.dumps(PROPS)), "jsonl": lines}
    content = content[name]
    (tmp_path / "given").write_text(content)
    assert sniffed(content.encode()) == name
    made = Library(tmp_path / "papers.sqlite")
    first = import_papers(made, tmp_path / "given")
    assert first.added == made.count() > 0 and first.bad == len(first.reasons) > 0
    again = import_papers(made, tmp_path / "given", name)
    assert (again.added, again.merged, again.bad) == (0, 0, first.bad)
    assert again.known == first.added + first.known and made.count() == first.added


def test_a_paper_in_two_formats_is_one(tmp_path):
    made = Library(tmp_path / "papers.sqlite")
    made.add([made_paper("Tilth: a study of <soil>")])
    for content in (ATOM, page(json.dumps(PROPS))):
        (tmp_path / "given").write_text(content)
        import_papers(made, tmp_path / "given")
    found = [paper for paper in made.papers() if "soil" in paper.title]
    assert len(found) == 1 and found[0].abstract == "An abstract." and found[0].year == 2023


@pytest.mark.skipif(not SHARED.is_file(), reason="../shared/papers.jsonl is not here")
def test_the_texts_of_the_98_join_the_built_in_papers(tmp_path):
    made = open_library(tmp_path / "papers.sqlite")
    before = made.count()
    assert not any(paper.abstract for paper in made.papers(limit=500))
    found = import_papers(made, SHARED)
    assert (found.added, found.merged, found.bad) == (98 - before, before, 0)
    assert made.count() == 98 and all(paper.abstract for paper in made.papers(limit=500))
    assert import_papers(made, SHARED).known == 98


BOMB = """<?xml version="1.0"?><!DOCTYPE feed [<!ENTITY a "{}"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;"><!ENTITY x SYSTEM "file:///etc/passwd">]>
<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>&c;&x;</title></entry></feed>"""


@pytest.mark.parametrize(
    "name, content",
    [
        ("atom", BOMB.format("lol" * 1000)),
        ("atom", BOMB.format("lol" * 1000).encode("utf-16")),
        ("atom", "<feed"),
        ("atom", ""),
        ("atom", "<html/>"),
        ("atom", '<feed xmlns="http://www.w3.org/2005/Atom">' + "<a>" * 100_000),
        ("huggingface", ""),
        ("huggingface", "<div>" * 200_000),
        ("huggingface", "<!DOCTYPE html [<!ENTITY a 'b'>]><html data-props='{&a;'>"),
        ("bibtex", "{" * 200_000),
        ("bibtex", "@" * 100_000),
        ("bibtex", "@misc{a, title={" + "\\a{" * 20_000),
        ("bibtex", "@misc{a, title={" + "$" * 20_001 + "}}"),
        ("bibtex", b"\x00\xff\xfe@misc{a,title={\x00}}"),
        ("jsonl", b"\x00" * 1000),
    ],
)  # fmt: skip
def test_hostile_files_add_nothing_and_end_in_a_reason(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(common, "CPU_SECONDS", 3.0)
    try:
        papers, bad = read(tmp_path, content, format=name)
    except (DataError, LimitError) as error:
        assert "\n" not in str(error) and str(tmp_path) in str(error)
    else:
        assert not [paper for paper in papers if "lol" in paper.title or "root" in paper.title]
        assert bad or not papers


def test_a_title_of_a_gigabyte_is_refused_without_being_read(tmp_path):
    (tmp_path / "given").write_bytes(b'{"title": "')
    with open(tmp_path / "given", "r+b") as file:
        file.truncate(1 << 30)  # The rest is a hole: no disk is needed.
    for name in ("bibtex", "atom", "huggingface"):
        with pytest.raises(LimitError, match="more than 64 MB"):
            list(read_papers(tmp_path / "given", name))
    with open(tmp_path / "given", "r+b") as file:
        file.truncate(50_000_000)
        file.seek(0, 2)
        file.write(b'\n{"title": "After it"}\n')
    papers, bad = parted(read_papers(tmp_path / "given"))
    assert [paper.title for paper in papers] == ["After it"]
    assert bad == [Bad("line 1", f"has more than {json_lines.LINE:,} bytes")]


@pytest.mark.parametrize(
    "content, how, says",
    [
        ("nothing that anybody knows", {}, "--format: bibtex, atom"),
        ("{}", {"format": "bibtx"}, "did you mean 'bibtex'"),
        ("[1]", {}, "in no format"),
        ("<svg/>", {}, "in no format"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path, content, how, says):
    with pytest.raises(UsageError, match=says):
        read(tmp_path, content, **how)
    with pytest.raises(DataError, match="No such file"):
        read_papers(tmp_path / "nowhere")


@settings(max_examples=60)
@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=40))
def test_whatever_is_stored_is_one_clean_line(title, abstract, address):
    try:
        made = made_paper(title, abstract=abstract, address=address)
    except DataError:
        return
    assert made.title == " ".join(made.title.split()) != ""
    for text in (made.title, made.abstract, made.address):
        assert not any(c in text for c in "\x00\x1b\x7f\u202e\u2066\r\t")
        text.encode("utf-8")
    assert clean_text(made.abstract) == made.abstract
    assert made.address == "" or made.address.startswith(("http://", "https://"))


def test_only_web_addresses_become_links():
    good = "https://example.org/a?b=c"
    assert clean_address(f" {good}\n") == good
    for bad in ("javascript:alert(1)", "data:text/html,x", "//example.org", "https://", "http:///x",
                "https://user:pw@example.org", "https://[x", "java\nscript:x", "file:///etc/passwd",
                "https://example.org/ x"):  # fmt: skip
        assert clean_address(bad) == ""
    assert arxiv_address("2308.00001v3") == "https://arxiv.org/abs/2308.00001"
    assert arxiv_address("cs.CL/0601001") == "https://arxiv.org/abs/cs.CL/0601001"
    assert arxiv_address("../../etc") == "" and year_in("c. 1899-1900") == 1899
    assert year_in("20231") is None


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", self.server.moved)
            self.end_headers()
            return
        self.send_response(200 if self.path == "/feed" else 404)
        self.end_headers()
        self.wfile.write(ATOM.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answers) as server:
        server.asked, server.moved = [], "/feed"
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_an_address_is_asked_only_when_it_is_given(tmp_path, site):
    made = Library(tmp_path / "papers.sqlite")
    assert import_papers(made, site.url + "/moved").added == 2
    assert site.asked == ["/moved", "/feed"]
    assert {paper.source for paper in made.papers()} == {"fetched from 127.0.0.1"}
    with pytest.raises(DataError, match="answers 404"):
        import_papers(made, site.url + "/nothing")
    for elsewhere in ("file:///etc/passwd", "ftp://127.0.0.1/x", "//127.0.0.2/feed"):
        site.moved = elsewhere
        with pytest.raises(DataError, match=r"leads to|answers 302"):
            import_papers(made, site.url + "/moved")
    site.moved = site.url.replace("127.0.0.1", "localhost") + "/feed"
    with pytest.raises(DataError, match=r"leads to http://localhost"):
        import_papers(made, site.url + "/moved")
    assert site.asked[-1] == "/moved"
    site.shutdown()
    site.server_close()
    with pytest.raises(DataError, match="does not answer"):
        import_papers(made, site.url + "/feed")
    assert import_papers(made, SHARED).added if SHARED.is_file() else made.count() == 2
    assert importing.api_address("https://arxiv.org/abs/2308.00001v2").endswith("=2308.00001v2")
    assert importing.api_address("https://arxiv.org/pdf/2308.00001.pdf").endswith("=2308.00001")
    assert importing.api_address(site.url) == site.url
