import json
import re
import socket
from itertools import pairwise
from pathlib import Path

import pytest
from lxml import html

from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.rules import Rule
from tilth.corpus.transforms.base import Chain
from tilth.corpus.transforms.repair import Repair
from tilth.report import write_report
from tilth.report.findings import first_screen
from tilth.signals.language import Language
from tilth.signals.length import Length
from tilth.signals.symbols import Symbols
from tilth.store.manifest import verify
from tilth.testing.faults import tree

HOSTILE = (
    '</p><script>alert("x")</script><img src="http://evil.example/a.png" onerror=alert(1)> & $x$'
)
ADDRESS = "jane.doe+list@mail.example.org"
MEASURED = {
    "bits": {
        "model": 2.31,
        "ngram_seen": 2.20,
        "ngram_all": 1.95,
        "held_out_bytes": 1_000_000,
        "held_out_documents": 6,
        "order": 5,
    },
    "curve": [
        {"tokens": 4096 * 4**n, "model": 3.2 - 0.2 * n, "ngram": 2.7 - 0.1 * n} for n in range(5)
    ],
    "training": {
        "tokens": 1_000_000,
        "parameters": 600_000,
        "flops": 3.0e12,
        "vocabulary": 4096,
        "corpus_tokens": 9_000_000,
        "loss": [{"tokens": 1000 * (n + 1), "loss": 8 / (n + 1)} for n in range(60)],
    },
    "search": {
        "queries": 40,
        "lexical": {"nDCG@10": 0.41, "R@10": 0.45, "RR@10": 0.38, "ci_low": 0.3, "ci_high": 0.55},
        "dense": None,
        "fused": None,
    },
    "curation": None,
}


def write_documents(folder: Path) -> None:
    folder.mkdir()
    lines = "The river runs past the old mill and the fields beyond it.\n"
    for number in range(30):
        (folder / f"{number:02}.txt").write_text(f"Letter {number}. " + lines * (1 + number % 5))
    for number in range(4):
        (folder / f"copy{number}.txt").write_text("This text lies in several of the files here.\n")
    for name in ("one", "two"):  # families are shown with an excerpt
        (folder / f"hostile {name}.txt").write_text(HOSTILE)
        (folder / f"mail {name}.txt").write_text(f"Ask {ADDRESS} \u202e now")
    (folder / "\x1b[31mred\u202e.txt").write_text("short too")
    (folder / "<b>&'\".txt").write_text("short")
    (folder / f"{ADDRESS}.txt").write_text("brief")
    (folder / "latin.txt").write_bytes(
        "Das Mädchen hört schöne Töne über dem Flußtal heute.".encode("cp1252")
    )
    (folder / "empty.txt").write_text("")
    (folder / "binary.bin").write_bytes(bytes(range(256)) * 8)
    records = [
        {"text": f"A record {n} that tells of a long way home.", "license": "CC0 <1>"}
        for n in range(9)
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))


def grow(folder: Path, documents: Path) -> Corpus:
    corpus = Corpus(folder, executor=LocalExecutor(1), block_bytes=3_000)
    corpus.add([documents])
    corpus.transform(Chain([Repair()]))
    corpus.measure([Length(), Symbols(), Language()])
    corpus.find_duplicates()
    corpus.select(Rule({"has words": "words >= 8", "sure <&> $z$": "language_confidence >= 0.0"}))
    corpus.split(0.2)
    return corpus


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("report")
    write_documents(base / "documents")
    return base


@pytest.fixture(scope="module")
def corpus(base):
    return grow(base / "corpus", base / "documents")


@pytest.fixture(scope="module")
def bare(base):
    bare = Corpus(base / "bare", executor=LocalExecutor(1))
    bare.add([base / "documents"])
    return bare


@pytest.fixture(scope="module")
def written(base, corpus):
    run = base / "run"
    run.mkdir()
    (run / "plan.resolved.toml").write_text("[train]\nseed = 0 # </pre>\n")
    report = write_report(run / "report", corpus, MEASURED, title="T <i>&", installation=None)
    return run / "report", report


@pytest.fixture(scope="module")
def page(written):
    text = (written[0] / "report.html").read_text("utf-8")
    return text, html.document_fromstring(text)


def test_the_folder_is_complete_and_holds_what_was_returned(written):
    folder, report = written
    assert set(verify(folder)["files"]) == {"report.html", "report.json"}
    assert json.loads((folder / "report.json").read_text("utf-8")) == report
    assert (folder / "report.html").stat().st_size < 1_000_000


def test_every_start_tag_is_closed_in_order(page):
    # HTML that is well formed as XML too (apart from void elements) cannot be misread by a parser.
    from lxml import etree

    text = re.sub(r"<(meta [^>]*)>", r"<\1/>", page[0].removeprefix("<!doctype html>\n"))
    root = etree.fromstring(text.encode())
    assert [child.tag for child in root] == ["head", "body"]


def test_links_lead_to_one_anchor_each_and_nothing_comes_from_outside(page):
    text, tree_ = page
    ids = tree_.xpath("//@id")
    assert len(ids) == len(set(ids))
    links = tree_.xpath("//@href")
    assert len(links) > 20 and all(link.startswith("#") and link[1:] in ids for link in links)
    for name in ("src", "action", "data", "srcset", "onerror", "onload"):
        assert not tree_.xpath(f"//@{name}")
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert re.findall(r"url\([^#]", text) == [] and "@import" not in text
    assert not tree_.xpath("//script | //iframe | //object | //link | //img | //base | //form")


def test_documents_are_shown_as_text(page, written):
    text, tree_ = page
    assert "<script" not in text and "&lt;script&gt;" in text
    samples = [s for entry in written[1]["dropped"] for s in entry["samples"]]
    assert any("<b>&'\".txt" in sample["source"] for sample in samples)
    assert "CC0 &lt;1&gt;" in text and "T &lt;i&gt;&amp;" in text
    assert "</pre>" in tree_.xpath("//pre")[0].text_content()


def test_addresses_are_masked_and_control_characters_replaced(page, written):
    both = page[0] + json.dumps(written[1], ensure_ascii=False)
    assert "jane" not in both and "mail.example" not in both
    assert "[e-mail]" in page[0]
    assert "Ask [e-mail]" in both and "\ufffd[31mred\ufffd.txt" in both
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", both)


def test_readers_who_do_not_see_are_told(page):
    tree_ = page[1]
    pictures = tree_.xpath("//svg")
    assert len(pictures) > 10
    for picture in pictures:
        title, description = picture.get("aria-labelledby").split()
        assert picture.get("role") == "img"
        assert picture.xpath(f"title[@id='{title}']")[0].text
        assert picture.xpath(f"desc[@id='{description}']")[0].text
        assert len(html.tostring(picture)) < 30_000
    assert tree_.xpath("/html/@lang") == ["en"] and tree_.xpath("//meta[@name='viewport']")
    assert all(table.xpath("caption") for table in tree_.xpath("//table"))
    assert not tree_.xpath("//th[not(@scope)]")
    assert "prefers-color-scheme: dark" in tree_.xpath("//style")[0].text
    levels = [int(head.tag[1]) for head in tree_.xpath("//h1 | //h2 | //h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_counts_agree_with_the_corpus(written, corpus):
    report, stats = written[1], corpus.stats()
    assert {e["reason"]: e["documents"] for e in report["dropped"]} == stats["reasons"]
    assert {e["reason"]: e["documents"] for e in report["not_read"]["reasons"]} == stats["problems"]
    assert report["documents"]["kept"] == stats["kept"]
    assert report["duplicates"]["largest"][0]["size"] == 4
    kept = {d.id for d in corpus.outcomes() if d.kept}
    assert report["duplicates"]["largest"][0]["representative"]["id"] in kept
    dropped = {d.id for d in corpus.dropped()}
    for entry in report["dropped"]:
        assert len(entry["samples"]) == min(5, entry["documents"])
        assert {sample["id"] for sample in entry["samples"]} <= dropped
        assert all(len(sample["excerpt"]) <= 162 for sample in entry["samples"])
    languages = report["languages"]["listed"]
    assert sum(e["documents"] for e in languages) == report["documents"]["read"]
    assert sum(e["bytes"] for e in languages) == stats["layers"]["clean"]["bytes"]
    assert report["damage"]["encodings"] == [{"encoding": "cp1252", "documents": 1}]
    assert report["licences"]["documents"] == 9
    for name, drawn in report["signals"]["histograms"].items():
        assert sum(drawn["counts"]) + drawn["missing"] == report["documents"]["read"], name
        assert drawn["edges"] == sorted(set(drawn["edges"]))


def test_the_first_screen_comes_first_and_says_what_is_weak(page, written):
    text = page[0]
    assert text.index('id="findings"') < text.index('id="questions"') < text.index("<nav")
    lines = first_screen(written[1])
    assert 9 <= len(lines) <= 16 and all("\n" not in line for line in lines)
    screen = "\n".join(lines)
    assert "Weak: only" in screen and "Weak: the model is worse than the 5-gram" in screen
    assert (
        "Not yet: after 1.0 M tokens the model needs 2.31 bits per byte, the 5-gram over" in screen
    )
    assert "fewer than 20" in screen and "tokens per parameter" in screen
    assert "45 % of the known documents" in screen and "40 queries" in screen
    shown = page[1].xpath("//div[@class='first']")[0].text_content()
    for entry in written[1]["first_screen"]["findings"] + written[1]["first_screen"]["questions"]:
        assert entry["sentence"] in shown


@pytest.mark.parametrize(
    "evaluation",
    [
        {},
        None,
        {"bits": None, "curve": None, "training": None, "search": None, "curation": None},
        {
            "bits": {"model": float("nan")},
            "curve": [None, {"tokens": 0}],
            "search": {"lexical": {}},
        },
    ],
)
def test_what_is_missing_is_called_not_measured(tmp_path, bare, evaluation):
    report = write_report(tmp_path / "report", bare, evaluation, title="T")
    for line in first_screen(report)[-3:]:
        assert "not measured yet" in line
    text = html.parse(tmp_path / "report" / "report.html").xpath("//div[@class='first']")[0]
    assert text.text_content().count("not measured yet") >= 4


def test_a_corpus_that_was_only_read_has_a_report(tmp_path, bare):
    report = write_report(tmp_path / "report", bare, {}, title="T")
    assert report["dropped"] is None and report["languages"] is None
    assert "no rule was applied" in first_screen(report)[0]
    assert report["documents"]["bytes"] == bare.stats()["layers"]["documents"]["bytes"] > 0
    html.parse(tmp_path / "report" / "report.html")


def test_the_same_corpus_gives_the_same_bytes(written, base, tmp_path):
    again = grow(tmp_path / "elsewhere", base / "documents")
    run = tmp_path / "run"
    run.mkdir()
    (run / "plan.resolved.toml").write_bytes(
        (written[0].parent / "plan.resolved.toml").read_bytes()
    )
    write_report(run / "report", again, MEASURED, title="T <i>&")
    assert tree(run / "report") == tree(written[0])
    text = "".join(path.read_text("utf-8") for path in written[0].iterdir())
    assert str(base) not in text and socket.gethostname() not in text.split()
    assert "matplotlib" not in text.lower()
