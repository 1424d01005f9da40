"""Papers pages over HTTP: what they show, what they refuse to say, what a vote does."""

import dataclasses
import re
from html import unescape

import pytest
from web_site import EVIL, ask, let_in, serving

from tilth.papers.measured import VERDICTS
from tilth.web import page, site, static


def rows(text):
    return re.findall(r'<li class="row" id="p-([^"]+)"', text)


def text_of(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_the_first_page_leads_to_the_papers(server):
    status, _, headers = ask(server, "/")
    assert status == 303 and headers["location"] == "/papers"
    status, text, headers = ask(server, "/papers")
    assert status == 200 and len(rows(text)) == 25
    assert headers["content-security-policy"] == page.POLICY
    assert "'unsafe" not in page.POLICY and headers["x-content-type-options"] == "nosniff"
    assert "101 papers" in text and "3 are measured" in text
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=", text)


def test_filters_and_pages_cover_every_paper_once(server, site):
    found = []
    for number in range(1, 6):
        found += rows(ask(server, f"/papers?page={number}")[1])
    assert len(found) == len(set(found)) == site.library.count() == 101
    assert ask(server, "/papers?page=6")[0] == 404
    by_family = {
        name: rows(ask(server, f"/papers?family={name}")[1]) for name in ("corpus", "serving")
    }
    assert "spgc" in by_family["corpus"] and "sarathi" in by_family["serving"]
    assert not set(by_family["corpus"]) & set(by_family["serving"])
    assert rows(ask(server, "/papers?verdict=holds")[1]) == ["spgc"]
    assert rows(ask(server, "/papers?verdict=direction+only")[1]) == ["bert2bert"]
    trending = rows(ask(server, "/papers?order=trending")[1])
    assert {"spgc", "bert2bert", "retro"} & set(trending[:10])
    for verdict in VERDICTS:
        assert ask(server, f"/papers?verdict={verdict.replace(' ', '+')}")[0] == 200
    for wrong in ("verdict=good", "order=best", "page=0", "page=x", "page=99999999999", "how=x&q=a",
                  "q=" + "a" * 501):  # fmt: skip
        assert ask(server, f"/papers?{wrong}")[0] == 400, wrong


def test_a_day_has_neighbours(server, site):
    day = site.library.paper("spgc").day
    status, text, _ = ask(server, f"/day/{day}")
    assert status == 200 and "101 papers" in text and len(rows(text)) == 25
    status, text, _ = ask(server, "/day/2020-02-29")
    assert status == 200 and f'rel="next" href="/day/{day}"' in text
    assert "No paper was added" in text
    assert ask(server, "/day/2021-02-29")[0] == 404


def test_a_paper_shows_what_was_measured_and_no_more(server):
    text = ask(server, "/papers/spgc")[1]
    assert "paper's figure not quoted" in text_of(text)
    assert 'class="paper"/>' not in text  # No diamond in the drawing.
    assert "95 % interval [0.1, 0.3], margin 0.05" in text
    assert "tilth run spgc" in text and "transform" in text_of(text)
    text = ask(server, "/papers/bert2bert")[1]
    assert "not quoted" in text_of(text)  # The second claim's.
    assert "in the paper 0.47" in text_of(text) and 'class="paper"/>' in text
    assert "paper's figure not quoted" not in text_of(text)


def test_a_paper_without_a_system_offers_no_run(server, site):
    cookie = let_in(server)
    built = set(site.facts.cards)
    (slug,) = [one.id for one in site.library.papers(limit=1000)
               if one.built_in and one.id not in built][:1]  # fmt: skip
    text = ask(server, f"/papers/{slug}", cookie=cookie)[1]
    assert "not built yet" in text and "/smoke" not in text and "tilth run" not in text
    assert ask(server, f"/papers/{slug}/smoke", {}, cookie=cookie)[0] == 404
    assert ask(server, "/papers/nothing")[0] == 404


def test_a_result_that_comes_while_it_serves_is_shown(server, site, tmp_path):
    from web_site import write_result

    folder = site.known._folder
    assert "not measured yet" in ask(server, "/papers/rewarm")[1]
    try:
        write_result(folder, "rewarm", "undecided", -0.1, 0.2, 0.05)
        text = ask(server, "/papers/rewarm")[1]
        assert "not measured yet" not in text and "undecided" in text
        assert "stale" not in text
        changed = (folder / "rewarm.json").read_text().replace('"code": "', '"code": "0')
        (folder / "rewarm.json").write_text(changed)
        assert "stale" in ask(server, "/papers/rewarm")[1] and "stale" in ask(server, "/board")[1]
        (folder / "rewarm.json").write_text("{")
        assert "not measured yet" in ask(server, "/papers/rewarm")[1]
    finally:
        (folder / "rewarm.json").unlink()


def test_the_board_has_every_result_and_what_waits(server):
    text = ask(server, "/board")[1]
    assert "3 results" in text and all(slug in text for slug in ("spgc", "retro", "bert2bert"))
    waiting = text[text.index("Not measured yet") :]
    assert "sarathi-serve" in waiting and "/papers/spgc" not in waiting
    text = ask(server, "/board?family=corpus")[1]
    assert "1 result." in text and "bert2bert" not in text


def test_a_system_of_an_unknown_paper_has_no_link(server, site, monkeypatch):
    facts = site.known.facts
    other = dataclasses.replace(facts.cards["pie"], slug="of-another-package")
    cards = {**facts.cards, other.slug: other}
    monkeypatch.setattr(site.known, "_facts", dataclasses.replace(facts, cards=cards))
    text = ask(server, "/board")[1]
    assert "of-another-package" in text and "/papers/of-another-package" not in text
    for path in set(re.findall(r'href="(/papers/[^"]+)"', text)):
        assert site.library.many([path.removeprefix("/papers/")]), path


def test_an_abstract_is_shown_only_from_the_library(server, site):
    evil = next(one for one in site.library.papers(limit=1000) if one.title.startswith("<script"))
    assert "Abstract, from your library" in ask(server, f"/papers/{evil.id}")[1]
    assert "Abstract" not in ask(server, "/papers/spgc")[1]


def test_hostile_papers_are_text(server, site):
    for one in [one for one in site.library.papers(limit=1000) if not one.built_in]:
        for path in (f"/papers/{one.id}", "/papers?q=window.evil", "/papers?family=%3Ci%3E"):
            text = ask(server, path)[1]
            assert "<script>window" not in text and "<img src=x" not in text and "49" not in text
            assert "javascript:" not in text and "\u202e" not in text
    evil = next(one for one in site.library.papers(limit=1000) if one.title.startswith("<script"))
    text = ask(server, f"/papers/{evil.id}")[1]
    assert unescape(text).count(EVIL.strip()) >= 3
    text = ask(server, "/papers?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")[1]
    assert "<script>alert" not in text


# Votes -------------------------------------------------------------------------------------------


def test_one_vote_for_each_visitor(server, site):
    path = "/papers/languini/vote"
    status, _, headers = ask(server, path, {"back": "/papers?family=pretrain#p-languini"})
    assert status == 303 and headers["location"] == "/papers?family=pretrain#p-languini"
    given = headers["set-cookie"]
    assert "HttpOnly" in given and "SameSite=strict" in given
    cookie = given.partition(";")[0]
    assert site.library.paper("languini").votes == 1
    for _ in range(3):
        assert ask(server, path, {}, cookie=cookie)[0] == 303
    assert site.library.paper("languini").votes == 1
    status, text, _ = ask(server, path, {}, cookie=cookie, accept="application/json")
    assert (status, text) == (200, '{"votes":1,"voted":true}')
    assert 'aria-pressed="true"' in ask(server, "/papers/languini", cookie=cookie)[1]
    # A name that was changed, or signed for something else, is nobody's.
    name, _, value = cookie.partition("=")
    for forged in (value[:-1] + ("0" if value[-1] != "0" else "1"), value.upper(), value + "0",
                   "0" * 32 + value[32:], "a" * 32, ""):  # fmt: skip
        assert 'aria-pressed="false"' in ask(server, "/papers/languini",
                                             cookie=f"{name}={forged}")[1]  # fmt: skip
    ask(server, path, {"take": "back"}, cookie=cookie)
    assert site.library.paper("languini").votes == 0
    assert ask(server, "/papers/nothing/vote", {})[0] == 404


BACKS = ["https://evil.example/", "//evil.example", "/\\evil.example", "/papers//evil.example",
         "/papers@evil.example", "/papers?x=\r\nset-cookie: a=b", "/papers/../../x", "javascript:1",
         "/paperss", "", "/papers/a/b", "\t//evil.example"]  # fmt: skip


@pytest.mark.parametrize("back", BACKS)
def test_a_form_leads_nowhere_else(server, back):
    _, _, headers = ask(server, "/papers/spgc/vote", {"back": back})
    assert headers["location"] == "/papers/spgc"
    assert "a=b" not in str(headers["set-cookie"])


def test_names_are_not_given_out_without_end(site):
    from tilth.web.visitors import Visitors

    before = site.visitors
    site.visitors = Visitors(site.secret)
    try:
        with serving(site) as address:
            found = [ask(address, "/papers/pie/vote", {})[0] for _ in range(31)]
            assert found == [303] * 30 + [429]
    finally:
        site.visitors = before


def test_static_files_come_from_a_table(server):
    for name in static.FILES:
        status, text, headers = ask(server, static.address(name))
        assert status == 200 and text and "immutable" in headers["cache-control"]
        assert headers["content-type"].startswith(static.FILES[name].partition(";")[0])
    for path in ("../site.py", "..%2fsite.py", "%2e%2e/page.py", "templates/base.html", "bare.css",
                 "site.css/", "/etc/passwd", "..\\site.py", "site.css%00"):  # fmt: skip
        assert ask(server, f"/static/{path}")[0] == 404, path


def test_pages_are_light(server):
    """Under 300 kB with styles and scripts, drawings of intervals included."""
    more = sum(len(static.contents(name)) for name in static.FILES)
    for path in ("/papers", "/papers/bert2bert", "/board"):
        assert len(ask(server, path)[1].encode()) + more < 300_000
    assert len({path for _, path, _ in site.ROUTES}) > 10
