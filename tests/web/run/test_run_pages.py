"""The pages of a run over HTTP: what they show, what they refuse, what they never send."""

import http.client
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import urlencode

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_site import EVIL, RULE, Rote, get, marked, plain, stream
from starlette.requests import Request
from web_site import ask

from tilth.corpus.what_if import what_if
from tilth.documents.document import Document
from tilth.types import Answer
from tilth.web.limiter import Limiter
from tilth.web.run import ROUTES, RunPages, plots
from tilth.web.run.document import PART, part
from tilth.web.run.pages import AT_A_TIME
from tilth.web.run.shown import cut, parts, shown

PATHS = (
    "/search", "/search?q=rent+deposit", "/search?q=rent&with=dense", "/search?q=rent&k=100",
    "/ask", "/ask?q=Who+owes+the+rent%3F", "/corpus", "/corpus/documents",
    "/corpus/documents?show=dropped", "/corpus/documents?show=unread",
    "/corpus/documents?order=words&down=1&page=2", "/corpus/signals", "/corpus/threshold",
    "/corpus/threshold?focus=mostly+letters&at.has+words=60", "/report", "/model",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("unlimited")


def every_document(pages):
    return pages.held.columns.column("id").to_pylist()


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_whole_small_and_without_script_inside(served, path):
    status, text, headers = get(served, path)
    assert status == 200 and text.rstrip().endswith("</html>")
    assert len(text.encode()) < 300_000
    assert re.search(r"<title>[^<]+ · tilth</title>", text) and text.count("<h1") == 1
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert not re.search(r"<style|\sstyle=|<script(?! src=\"/static/)|\son\w+=", text)
    assert 'aria-current="page"' in text


def test_routes_are_those_of_the_table(served):
    asked = {path.split("?")[0] for path in PATHS} | {"/report/whole", "/document/{id}"}
    assert {path for method, path, _ in ROUTES if method == "GET"} == asked
    assert get(served, "/corpus/nothing")[0] == 404


def test_a_hit_opens_the_document_at_its_passage(served, pages):
    for using in ("lexical", "dense", "fused"):
        _, text, _ = get(served, "/search", q="judge of the appeal", **{"with": using})
        links = re.findall(r'<h2><a href="(/document/[^"]+)#cited">', text)
        passages = re.findall(r'<p class="passage" dir="auto">(.*?)</p>', text, re.DOTALL)
        assert len(links) == len(passages) == 10
        assert "<mark>judge</mark>" in text
        for link, passage in zip(links[:3], passages):
            status, page, _ = get(served, unescape(link))
            assert status == 200
            assert marked(page) == plain(passage).removeprefix("\n").removesuffix("\n")
    _, text, _ = get(served, "/search", q="qqqqxyz")
    assert "No document holds any of these words" in text


@pytest.mark.parametrize(
    "path, says",
    [
        ("/search?q=a&with=dens", "did you mean &#39;dense&#39;?"),
        ("/search?q=" + "a" * 2001, "2,001 letters"),
        ("/search?q=a&k=b", "k is a whole number"),
        ("/corpus/documents?show=lost", "show is not &#39;lost&#39;"),
        ("/corpus/documents?order=wrds", "did you mean &#39;words&#39;?"),
        ("/corpus/documents?page=1e99", "page is a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(served, path, says):
    status, text, _ = get(served, path)
    assert status == 400 and says in text


def test_what_is_not_there_is_not_found(served, harmful):
    for path in ("/document/" + "0" * 32, "/document/x", "/corpus/threshold?focus=none"):
        assert get(served, path)[0] == 404
    assert get(served, "/document/..%2f..%2fetc%2fpasswd")[0] == 404
    assert ask(harmful, "/model", {"prompt": "a"})[0] == 404
    assert "No model is served" in get(harmful, "/model")[1]


def test_a_document_says_why_it_was_kept_or_dropped(served, pages):
    held = pages.held
    for row, id in enumerate(every_document(pages)):
        decision = held.decision(row)
        if decision.kept or set(decision.reasons) == {"duplicate"}:
            continue
        _, text, _ = get(served, f"/document/{id}")
        shown_reasons = re.findall(r'<li class="(\w+)"><span class="sign"[^>]*></span>'
                                   r"<span><strong>([^<]*)", text)  # fmt: skip
        assert {name for state, name in shown_reasons if state == "failed"} == set(decision.reasons)
        assert "<dt>words</dt>" in text and decision.reasons
        return
    raise AssertionError("the mixed documents have dropped ones")


def test_a_duplicate_names_who_stands_for_it(served, pages):
    rows = [row for row in range(len(pages.held.kept)) if pages.held.decision(row).representative]
    decision = pages.held.decision(rows[0])
    _, text, _ = get(served, f"/document/{decision.id}")
    assert f'<a href="/document/{decision.representative}">The document that stands for it' in text
    assert "this one" in text and "stands for all" in text


def test_spans_are_in_characters_or_bytes(harmful, harm):
    id, text = next((one.id, one.text) for one in harm.run.corpus.documents() if "é" in one.text)
    start = text.index("quagga")
    in_bytes = len(text[:start].encode())
    assert in_bytes == start + 1
    for query in ({"start": start, "stop": start + 6},
                  {"start": in_bytes, "stop": in_bytes + 6, "unit": "bytes"}):  # fmt: skip
        assert marked(get(harmful, f"/document/{id}", **query)[1]) == "quagga"
    # In the middle of a letter is before it; behind the end is said; nonsense marks nothing.
    assert 'id="cited"' not in get(harmful, f"/document/{id}", start=9, stop=3)[1]
    assert "behind the end" in get(harmful, f"/document/{id}", start=9999, stop=10**8)[1]


def test_a_megabyte_on_one_line_is_cut_with_its_count_and_can_be_read_through(harmful, harm):
    found = next(one for one in harm.run.corpus.documents() if one.source.endswith("long.txt"))
    path, read, pages = f"/document/{found.id}", "", 0
    while path:
        status, text, _ = get(harmful, path)
        assert status == 200 and len(text.encode()) < 300_000
        body = re.search(r'<div class="text" dir="auto">(.*?)</div>\n', text, re.DOTALL)[1]
        read += unescape(body)
        hidden = len(found.text) - len(unescape(body))
        assert f"{hidden:,} letters are not on this page" in text
        after = re.search(r'<a href="([^"]+)">↓ The part behind', text)
        path = unescape(after[1]) if after else ""
        pages += 1
    assert read == found.text and pages == -(-len(found.text) // PART)
    # A passage at its very end is shown with what stands before it.
    start = found.text.index("quagga")
    _, text, _ = get(harmful, f"/document/{found.id}", start=start, stop=start + 6)
    assert marked(text) == "quagga" and len(text.encode()) < 300_000


def test_documents_that_mean_harm_are_text(harmful, harm):
    paths = ["/search?q=zebra", "/search?q=okapi&k=100", "/ask?q=zebra", "/corpus", "/report",
             "/corpus/documents", "/corpus/documents?reason=some+%3Cb%3Ewords%3C%2Fb%3E",
             "/corpus/documents?source=%3Ci%3E", "/corpus/threshold", "/corpus/signals",
             "/corpus/threshold?" + urlencode({"at.some <b>words</b>": 9})]  # fmt: skip
    paths += [f"/document/{id}" for id in every_document(harm)[:8]]
    paths += ["/search?q=" + urlencode({"": EVIL})[1:], "/ask?q=" + urlencode({"": EVIL})[1:]]
    seen = ""
    for path in paths:
        status, text, _ = get(harmful, path)
        assert status == 200, path
        assert "<img src=x" not in text and "<script>" not in text and "<b>words" not in text
        assert "49" not in re.findall(r"\{\{ (\d+)", text)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\0\x1b]", text), path
        seen += text
    assert "&lt;script&gt;window.evil" in seen and "some &lt;b&gt;words&lt;/b&gt;" in seen
    assert "\ufffdtxt.exe\ufffd" in seen


@given(st.text(max_size=300), st.data())
def test_pieces_are_the_text_and_a_span_is_marked_letter_for_letter(text, data):
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    drawn = part(Document("0" * 32, text), (start, stop))
    assert "".join(piece.text for piece in drawn.pieces) == shown(text)
    assert "".join(piece.text for piece in drawn.pieces if piece.marked) == shown(text)[start:stop]
    assert drawn.hidden == 0 and len(shown(text)) == len(text)
    assert "".join(piece.text for piece in parts(text, [])) == shown(text)
    line = cut(text, 20)
    assert "\n" not in line and (len(text) <= 20 or f"({len(text) - 20} more char" in line)


def test_the_table_counts_and_pages(served, pages):
    stats = pages.run.corpus.stats()
    found = re.search(r"([\d,]+) documents?</p>", get(served, "/corpus/documents?show=dropped")[1])
    assert int(found[1].replace(",", "")) == stats["dropped"]
    ids, page = [], 1
    while True:
        _, text, _ = get(served, "/corpus/documents", order="words", page=page)
        ids += re.findall(r'<tr><td><a href="/document/(\w+)"', text)
        if 'rel="next"' not in text:
            break
        page += 1
    assert sorted(ids) == sorted(every_document(pages)) and page > 1
    # A page behind the last is the last.
    assert f"Page {page} of {page}" in get(served, "/corpus/documents", order="words", page=999)[1]
    _, text, _ = get(served, "/corpus/documents", show="unread", reason="binary")
    assert "040.bin" in text and "1 file or record not read, binary" in plain(text)


def test_a_moved_threshold_shows_what_changes_and_writes_nothing(served, pages):
    before = {path: path.stat().st_mtime_ns for path in pages.run.folder.rglob("*")}
    change = what_if(pages.held, {"has words": 60.0})
    assert change.newly_dropped.total and not change.newly_kept.total
    _, text, _ = get(served, "/corpus/threshold", focus="has words", **{"at.has words": "60"})
    words = plain(text)
    assert f'<strong id="kept">{change.kept:,}</strong>' in text
    assert f'<strong id="successions">{change.successions.total:,}</strong>' in text
    assert f"of {change.newly_dropped.total:,}, those nearest" in words
    assert "--where 'has words: words >= 60'" in words and "Nothing was written" in words
    # Each of the nearest is a link, with its value and the beginning of its text.
    (first, *_) = change.newly_dropped.nearest
    assert (
        f'<span class="figures">{first.value:g}</span> <a href="/document/{first.now.id}"' in text
    )
    # The same part alone, for the script; other thresholds stay where they were moved.
    _, piece, headers = get(served, "/corpus/threshold", focus="mostly letters", part="1",
                            **{"at.has words": "60", "at.mostly letters": "0.9"})  # fmt: skip
    assert "<html" not in piece and headers["content-security-policy"]
    both = what_if(pages.held, {"has words": 60.0, "mostly letters": 0.9})
    assert f'<strong id="kept">{both.kept:,}</strong>' in piece
    for wrong in ("nan", "1e999", "x; DROP", "(SELECT 1)"):
        _, text, _ = get(served, "/corpus/threshold", **{"at.has words": wrong})
        assert "nothing was moved" in text and f'<strong id="kept">{change.kept_before:,}' in text
    assert {path: path.stat().st_mtime_ns for path in pages.run.folder.rglob("*")} == before


def test_another_document_stands_for_a_family_where_the_threshold_moves(harmful, harm):
    ids = {harm.held.values(row)["source"][-5:]: id for id, row in harm.held.places.items()}
    for number, then in ((31, ids["a.txt"]), (30, "")):
        change = what_if(harm.held, {"known": number})
        (one,) = change.successions.largest
        assert (one.before, one.now) == (ids["b.txt"], then)
        _, text, _ = get(harmful, "/corpus/threshold", focus="known", **{"at.known": number})
        sides = re.search(r'<li class="two-up">(.*?)</li>', text, re.DOTALL)[1]
        assert re.findall(r"/document/(\w+)", sides) == [id for id in (one.before, then) if id]
        assert "nobody: none passes" in sides or then
        assert "quokka0 quokka1" in sides and "family of 2" in sides


def test_a_question_is_quoted_and_each_citation_lands_on_its_sentence(served, pages):
    _, text, _ = get(served, "/ask", q="Who owes the deposit to the landlord?")
    assert "No LLM was given" in plain(text)
    quotes = re.findall(r"<blockquote dir=\"auto\"><p>(.*?)</p>.*?href=\"([^\"]+)#cited\"", text,
                        re.DOTALL)  # fmt: skip
    assert quotes
    for sentence, link in quotes:
        assert marked(get(served, unescape(link))[1]) == plain(sentence)
    # As a stream the same answer, after its passages and letters.
    lines = stream(served, "/ask/stream", q="Who owes the deposit to the landlord?")
    assert [lines[0]["kind"], lines[-1]["kind"]] == ["passages", "done"]
    assert {line["kind"] for line in lines[1:-1]} == {"text"}
    assert lines[-1]["html"] in text
    said = "".join(line["text"] for line in lines[1:-1])
    assert all(plain(sentence) in said for sentence, _ in quotes)


def test_a_written_answer_shows_what_bears_it_out(served, pages, monkeypatch):
    question = "Who owes the deposit to the landlord?"
    passages = next(iter(pages.asker.stream(question))).passages
    sentence = next(one for one in passages[0].text.split("\n") if one.startswith("The "))
    written = f"{sentence} [1] Nobody pays in bananas {EVIL} [2]. Plainly so. [77]"
    rote = Rote(Rote.ok(written), Rote.ok(written), Answer("refused", reason="<i>no</i>"))
    monkeypatch.setattr(pages.asker, "generator", rote)
    monkeypatch.setattr(pages, "generator", rote)
    _, text, _ = get(served, "/ask", q=question)
    assert "Written by the model" in text and "shares little with it" in text
    assert "<script>" not in text and "&lt;script&gt;window.evil" in text
    cites = re.findall(r'class="cite" href="([^"]+)#cited" aria-label="Passage (\d)', text)
    assert {number for _, number in cites} == {"1", "2"}
    assert marked(get(served, unescape(cites[0][0]))[1]) in passages[0].text
    assert "citations of passages that are not there" in text
    lines = stream(served, "/ask/stream", q=question)
    assert "<script>" not in lines[-1]["html"]
    assert "".join(line["text"] for line in lines if line["kind"] == "text").startswith(sentence)
    # A model that refuses: quoted instead, and it is said.
    _, text, _ = get(served, "/ask", q=question)
    assert "Quoted from the documents" in text and "refused: &lt;i&gt;no&lt;/i&gt;" in text


def test_a_question_from_elsewhere_is_not_answered(served):
    path = "/ask?q=Who+owes+the+rent"
    for site in ("cross-site", "same-site"):
        status, text, _ = ask(served, path, sec_fetch_site=site, sec_fetch_mode="navigate")
        assert status == 200 and "came with a link" in text and "<blockquote" not in text
    assert "<blockquote" in ask(served, path, sec_fetch_site="same-origin")[1]
    # A browser that does not say so names the page it comes from, or is not believed.
    own = f"http://{served[0]}:{served[1]}"
    assert "<blockquote" in ask(served, path, referer=f"{own}/ask")[1]
    others = ("", "http://evil.example/ask", f"{own}.evil.example/", "http://[", own[:-1])
    for other in (None, *others):
        assert "<blockquote" not in ask(served, path, referer=other)[1]
    assert ask(served, "/ask/stream", {"q": "rent"}, origin=None)[0] == 403
    assert ask(served, "/ask/stream", {"q": "rent"}, origin="http://evil.example")[0] == 403
    assert ask(served, "/ask/stream", {"q": "  "})[0] == 400
    assert ask(served, "/ask/stream", {"q": "a" * 2001})[0] == 400


def test_what_another_site_loads_without_leaving_it_is_refused(served):
    asked = {"sec_fetch_site": "cross-site"}
    for path in ("/search?q=rent", "/ask", "/corpus", "/document/x"):
        for more in ({}, {"sec_fetch_mode": "no-cors"},
                     {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}):  # fmt: skip
            assert ask(served, path, **asked, **more)[0] == 403
    link = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert ask(served, "/search?q=rent", **asked, **link)[0] == 200


def test_searches_that_wait_hold_no_thread_and_are_counted(served, pages, monkeypatch):
    working, on = threading.Semaphore(0), threading.Event()
    found = pages.run.search

    def held(*given):
        working.release()
        assert on.wait(60)
        return found(*given)

    monkeypatch.setattr(pages.run, "search", held, raising=False)
    with ThreadPoolExecutor(60) as browsers:
        asked = [browsers.submit(get, served, "/search", q="rent") for _ in range(60)]
        try:
            assert all(working.acquire(timeout=60) for _ in range(AT_A_TIME))
            # There are fewer threads than requests that wait: other pages come all the same.
            for path in ("/search", "/model", "/ask"):
                assert get(served, path)[0] == 200
            monkeypatch.setattr("tilth.web.run.pages.WAITING", 0)
            status, _, headers = get(served, "/search", q="rent")
            assert status == 429 and headers["retry-after"] == "5"
        finally:
            on.set()
        answers = [one.result()[0] for one in asked]
    assert set(answers) <= {200, 429} and answers.count(200) >= AT_A_TIME


def test_nothing_is_searched_for_those_who_are_gone(pages):
    async def gone():
        return {"type": "http.disconnect"}

    def never(*_):
        raise AssertionError("searched")

    request = Request({"type": "http", "headers": []}, gone)
    # In a thread of its own: the browser's tests keep a loop in this one.
    with ThreadPoolExecutor(1) as thread:
        said = thread.submit(anyio.run, RunPages.in_turn, pages, never, request).result()
    assert said.status_code == 204


def test_the_corpus_is_read_once_for_all_who_look(served, pages, monkeypatch):
    seen = [get(served, path)[1] for path in ("/corpus", "/corpus/signals")]

    def again(*_):
        raise AssertionError("read anew")

    monkeypatch.setattr("tilth.corpus.families.largest_families", again)
    monkeypatch.setattr(pages.run.corpus, "quantiles", again, raising=False)
    assert [get(served, path)[1] for path in ("/corpus", "/corpus/signals")] == seen


def test_the_report_is_the_file_in_a_sandbox(harmful, harm, served, pages):
    for address, run in ((served, pages.run), (harmful, harm.run)):
        status, text, headers = get(address, "/report/whole")
        assert status == 200
        assert text.encode() == (run.folder / "report" / "report.html").read_bytes()
        policy = headers["content-security-policy"].split("; ")
        assert policy[:2] == ["sandbox", "default-src 'none'"] and "script" not in str(policy)
    _, text, _ = get(served, "/report")
    screen = pages.report["first_screen"]
    for one in (*screen["findings"], *screen["questions"]):
        assert one["sentence"] in unescape(text)
    assert '<a href="/report/whole#contamination">Contamination</a>' in text


def test_the_model_goes_on_with_a_text(served, pages):
    form = {"prompt": "The tenant pays <b>", "tokens": 16, "temperature": "0"}
    status, text, _ = ask(served, "/model", form)
    assert status == 200 and "The tenant pays &lt;b&gt;" in text
    lines = stream(served, "/model/stream", **form)
    assert lines[-1]["kind"] == "done" and {one["kind"] for one in lines[:-1]} <= {"text"}
    said = "".join(line["text"] for line in lines[:-1])
    whole = re.search(r'<span id="text">(.*?)</span>', text, re.DOTALL)[1]
    assert unescape(whole) == said
    (alone,) = pages.run.engine.generate([form["prompt"]], tokens=16, temperature=0)
    assert said == shown(alone)
    for wrong in ({"tokens": 9999}, {"temperature": "3"}, {"temperature": "x"},
                  {"prompt": "a" * 4001}, {"tokens": "x"}):  # fmt: skip
        assert ask(served, "/model", form | wrong)[0] == 400
    status, text, _ = ask(served, "/model/stream", form | {"prompt": "word " * 700})
    assert status == 400 and "context" in text  # both numbers, as the API says it


def test_what_costs_is_limited(served, pages, monkeypatch):
    for name in ("asks", "generates", "moves"):
        monkeypatch.setattr(pages, name, Limiter(each=(1, 3600), everyone=(9, 3600)))
    asked = {
        "/ask/stream": {"q": "rent"}, "/model/stream": {"prompt": "a", "tokens": 16},
        "/corpus/threshold": None,
    }  # fmt: skip
    for path, form in asked.items():
        assert ask(served, path, form)[0] == 200
        status, text, headers = ask(served, path, form)
        assert status == 429 and "try again in" in text
        assert 3500 < int(headers["retry-after"]) <= 3600
    # Looking costs little and is not limited.
    assert all(get(served, "/search?q=rent")[0] == 200 for _ in range(5))


def test_no_more_questions_at_a_time_than_there_are_places(served, pages, monkeypatch):
    monkeypatch.setattr(pages, "_answering", threading.BoundedSemaphore(1))
    with pages.answering():
        status, text, headers = get(served, "/ask?q=rent")
        assert status == 429 and headers["retry-after"] == "5" and "being answered" in text
        assert stream(served, "/ask/stream", q="rent")[-1]["kind"] == "wrong"
    assert get(served, "/ask?q=rent")[0] == 200


def test_a_reader_who_leaves_stops_the_model(served, pages, monkeypatch):
    closed, asked = threading.Event(), threading.Event()

    class Endless:
        driver = model = "endless"

        def stream(self, prompt, sampling):
            try:
                while True:
                    asked.set()
                    yield "more words and " * 400
            finally:
                closed.set()

    monkeypatch.setattr(pages.asker, "generator", Endless())
    connection = http.client.HTTPConnection(*served, timeout=60)
    body = urlencode({"q": "rent"})
    connection.request("POST", "/ask/stream", body, {"origin": f"http://{served[0]}:{served[1]}"})
    answer = connection.getresponse()
    assert answer.readline() and asked.wait(60)
    connection.sock.close() if connection.sock else answer.close()
    answer.close()
    assert closed.wait(60)


def test_a_rule_without_thresholds_has_none_to_move(harm, harmful, monkeypatch):
    assert set(RULE.conditions) == {one["name"] for one in _conditions(harm)} - {"duplicate"}
    from dataclasses import replace

    from tilth.corpus.rules import Rule

    odd = replace(harm.held, rule=Rule({"known": "words = 3"}))
    monkeypatch.setattr(harm, "held", odd)
    status, text, _ = get(harmful, "/corpus/threshold")
    assert status == 404 and "no threshold can be moved" in text
    monkeypatch.setattr(harm, "held", replace(odd, rule=None, decisions=None))
    assert "No rule was applied" in get(harmful, "/corpus")[1]
    assert get(harmful, f"/document/{every_document(harm)[0]}")[0] == 200


def _conditions(pages):
    from tilth.web.run.corpus import conditions

    return conditions(pages)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_steps_are_round_and_hold_both_ends(low, span):
    found = plots.steps(low, low + span)
    assert found[0] <= low + 1e-3 and found[-1] >= low + span - 1e-3
    assert found == sorted(found) and 2 <= len(found) <= 9


def test_curves_lie_within_their_box():
    points = [(1000 * 2**n, 3 / (n + 1)) for n in range(6)]
    drawn = plots.curves([("model", points), ("none", [])], "bits", logarithmic=True)
    assert [line.name for line in drawn.lines] == ["model"] and len(drawn.lines[0].points) == 6
    for x, y in drawn.lines[0].points:
        assert 0 <= x <= drawn.width and 0 <= y <= drawn.height
    assert "3 to 0.5" in drawn.told
    assert plots.curves([("model", points[:1])], "bits", logarithmic=True) is None
    assert plots.curves([("a", [(0, 1.0), (5, float("nan"))])], "x", logarithmic=True) is None
