"""Runs to draw pages from: one without a model whose documents mean harm, a generator by rote."""

import contextlib
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))
from web_site import ask, serving

from tilth.build.plan import Plan
from tilth.build.run import Run
from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.near_duplicates import NearDuplicates
from tilth.corpus.rules import Rule
from tilth.report import write_report
from tilth.retrieval.bm25 import BM25
from tilth.signals.length import Length
from tilth.store.manifest import write_manifest
from tilth.store.write import write_json, write_text
from tilth.types import Answer
from tilth.web.known import Known
from tilth.web.run import routes
from tilth.web.site import Site

EVIL = "<script>window.evil=1</script><img src=x onerror=window.evil=1> {{ 7*7 }} \"'>"
TURNED = "\u202etxt.exe\u202c and \u2066more\u2069"
RULE = Rule({"some <b>words</b>": "words >= 5", "known": "words < 1000000"})


def harmful_run(folder: Path) -> Run:
    """A finished run of documents that mean harm; neither model nor dense index."""
    inside = folder / "in"
    inside.mkdir(parents=True)
    (inside / "<i>name & co.txt").write_text(f"Zebra of names. {EVIL} It stands here for all.")
    (inside / "turned.txt").write_text(f"Zebra turned {TURNED} in the dark of the night.")
    (inside / "long.txt").write_text("Zebra " + "<&\"'" * 250_000 + " quagga at the very end")
    (inside / "ends.txt").write_bytes(
        b"Zebra one\r\ntwo three\rfour five \xc3\xa9 quagga seven.\r\n"
    )
    lines = [
        {"text": f"Okapi number {n} eats leaves of tree {n * n}.", "title": EVIL} for n in range(90)
    ]
    (inside / "okapi.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pair = " ".join(f"quokka{n}" for n in range(30))
    (inside / "pair-a.txt").write_text(pair)
    (inside / "pair-b.txt").write_text(pair + " more")
    (inside / "short.txt").write_text("Too short.")
    (inside / "zero.bin").write_bytes(b"\0\1\2" * 50)
    run = folder / "run"
    corpus = Corpus(run / "corpus", executor=LocalExecutor(1))
    corpus.add([inside])
    corpus.measure([Length()])
    corpus.find_duplicates(NearDuplicates())
    corpus.select(RULE)
    index = BM25()
    index.fit({document.id: document.text for document in corpus.documents(kept=True)})
    index.save(run / "index")
    write_json(run / "evaluation" / "search" / "search.json", {"search": {}})
    write_report(run / "report", corpus, {}, title=f"A report of {EVIL}")
    write_text(run / "plan.resolved.toml", Plan().to_toml())
    write_manifest(run, ["plan.resolved.toml"])
    return Run(run)


class Rote:
    """A generator that says what it was told, and hostile things beside."""

    driver, model = "rote", "rote"

    def __init__(self, *answers):
        self.answers, self.prompts = list(answers), []

    def stream(self, prompt, sampling):
        self.prompts.append(prompt)
        answer = self.answers.pop(0)
        if answer.outcome == "ok":
            for at in range(0, len(answer.text), 7):
                yield answer.text[at : at + 7]
        yield answer

    @staticmethod
    def ok(text):
        return Answer("ok", text)


@contextlib.contextmanager
def serving_run(pages):
    """The address of a server of the pages of a run, as (host, port)."""
    with serving(Site(None, Known("."), b"", run=pages), routes(pages), token="") as address:
        yield address


def get(address, path, **query):
    """(status, text, headers) of one page, as for a person who typed its address."""
    where = f"{path}?{urlencode(query)}" if query else path
    return ask(address, where, accept="text/html", sec_fetch_site="none")


def stream(address, path, **form):
    """The lines of an answer as they are streamed."""
    status, text, headers = ask(address, path, form, accept="application/json")
    assert status == 200, text
    assert headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in text.splitlines()]


def plain(html):
    """The text of a piece of a page."""
    from html import unescape

    return unescape(re.sub(r"<[^>]+>", "", html))


def marked(html):
    """The cited span of a document's page."""
    (found,) = re.findall(r'<mark id="cited" tabindex="-1">(.*?)</mark>', html, re.DOTALL)
    return plain(found)
