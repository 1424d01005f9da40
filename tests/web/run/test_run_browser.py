"""The pages of a run in a real browser: by mouse, by keys alone, without script; axe-core."""

import re

import axe
import pytest
from run_site import Rote, marked
from web_site import ask

from tilth.corpus.what_if import what_if

library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = library.expect

PATHS = ("/search", "/search?q=judge+of+the+appeal", "/ask", "/ask?q=Who+owes+the+rent%3F",
         "/corpus", "/corpus/documents?show=dropped&order=words", "/corpus/signals",
         "/corpus/threshold?at.has+words=60", "/report", "/model")  # fmt: skip

pytestmark = pytest.mark.usefixtures("unlimited")


@pytest.fixture
def home(served):
    return f"http://{served[0]}:{served[1]}"


def in_sight(tab, selector):
    box = tab.locator(selector).bounding_box()
    return box is not None and 0 <= box["y"] < tab.viewport_size["height"]


def test_search_and_open_a_passage(browse, home, pages):
    tab = browse()
    tab.goto(home + "/search")
    # The field has the focus: type and go.
    tab.keyboard.type("deposit of the landlord")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search?q=deposit+of+the+landlord**")
    first = tab.locator(".hit").first
    assert first.locator("mark").count() >= 2
    passage = first.locator(".passage").inner_text()
    first.get_by_role("link").click()
    tab.wait_for_url("**/document/*#cited")
    assert "".join(tab.locator("#cited").inner_text().split()) == "".join(passage.split())
    assert in_sight(tab, "#cited")
    assert tab.get_by_role("complementary").get_by_text("has words").is_visible()


def test_ask_and_follow_a_citation_to_its_passage(browse, home, served):
    tab = browse()
    tab.goto(home + "/ask")
    assert "No LLM was given" in tab.locator("main").inner_text()
    tab.get_by_label("Your question").fill("Who owes the deposit to the landlord?")
    tab.keyboard.press("Enter")
    quote = tab.locator(".answer blockquote").first
    quote.wait_for()
    assert tab.url.endswith("/ask?q=Who%20owes%20the%20deposit%20to%20the%20landlord%3F")
    sentence = quote.locator("p").inner_text()
    quote.get_by_role("link").click()
    tab.wait_for_url("**/document/*#cited")
    assert tab.locator("#cited").inner_text() == sentence and in_sight(tab, "#cited")
    tab.go_back()
    # The answer is there again: its address asks for it.
    assert tab.locator(".answer blockquote p").first.inner_text() == sentence


def test_a_written_answer_is_drawn_as_text(browse, home, pages, monkeypatch):
    answer = "<img src=x onerror=alert(1)> The tenant owes the rent [1]. Nothing more."
    rote = Rote(Rote.ok(answer))
    monkeypatch.setattr(pages.asker, "generator", rote)
    tab = browse()
    tab.goto(home + "/ask")
    tab.get_by_label("Your question").fill("Who owes the rent?")
    tab.get_by_role("button", name="Ask").click()
    tab.locator(".answer.generated").wait_for()
    assert "<img src=x onerror=alert(1)> The tenant" in tab.locator(".written").inner_text()
    assert tab.locator("main img").count() == 0
    tab.locator(".cite").first.click()
    tab.wait_for_url("**/document/*#cited")
    assert in_sight(tab, "#cited")


def test_move_a_threshold_by_keys_and_see_counts_change(browse, home, pages):
    tab = browse()
    tab.goto(home + "/corpus")
    tab.get_by_role("link", name="move it (has words)").click()
    kept = int(pages.held.kept.sum())
    assert tab.locator("#kept").inner_text() == f"{kept:,}"
    slider = tab.get_by_role("slider")
    slider.focus()
    began = float(tab.locator("#value").input_value())
    while float(tab.locator("#value").input_value()) < 60:
        tab.keyboard.press("PageUp")
    moved = float(tab.locator("#value").input_value())
    assert moved > began and slider.get_attribute("aria-valuetext") == f"{moved:g}"
    change = what_if(pages.held, {"has words": moved})
    assert change.kept < kept
    expect(tab.locator("#kept")).to_have_text(f"{change.kept:,}")
    assert f"was {kept:,}" in tab.locator("#moved").inner_text()
    nearest = tab.get_by_role("region", name="Newly dropped").get_by_role("link").first
    assert nearest.get_attribute("href") == f"/document/{change.newly_dropped.nearest[0].now.id}"
    # The address is that of what is seen, other conditions keep it, and Back puts it back.
    assert f"at.has+words={moved:g}" in tab.url
    tab.get_by_role("link", name="mostly letters").click()
    tab.wait_for_url("**focus=mostly+letters**")
    assert tab.locator("#kept").inner_text() == f"{change.kept:,}"
    tab.go_back()
    tab.locator("#back").click()
    expect(tab.locator("#kept")).to_have_text(f"{kept:,}")


def test_move_a_threshold_and_see_who_stands_for_a_family(browse, harmful, harm):
    tab = browse()
    tab.goto(f"http://{harmful[0]}:{harmful[1]}/corpus/threshold?focus=known")
    assert tab.locator("#successions").inner_text() == "0"
    tab.locator("#value").fill("31")
    expect(tab.locator("#successions")).to_have_text("1")
    (one,) = what_if(harm.held, {"known": 31}).successions.largest
    who = tab.get_by_role("region", name="Who stands for a family")
    before, then = (who.locator(f"a[href='/document/{id}']") for id in (one.before, one.now))
    assert before.inner_text().endswith("pair-b.txt") and then.inner_text().endswith("pair-a.txt")
    then.click()
    tab.wait_for_url(f"**/document/{one.now}")
    # As the rule stands now it is the other way round.
    assert tab.get_by_role("link", name="The document that stands for it").is_visible()


def test_a_number_that_is_typed_moves_the_line(browse, home, pages):
    tab = browse()
    tab.goto(home + "/corpus/threshold?focus=mostly+letters")
    tab.get_by_label("alphabetic_share >=").fill("0.9")
    change = what_if(pages.held, {"mostly letters": 0.9})
    expect(tab.locator("#kept")).to_have_text(f"{change.kept:,}")
    drawn = pages.histograms["alphabetic_share"]
    place = float(tab.locator("#limit").get_attribute("x1"))
    assert place == pytest.approx(480 * drawn.place(0.9), abs=0.1)


def test_the_model_writes_as_it_goes(browse, home):
    tab = browse()
    tab.goto(home + "/model")
    tab.get_by_label("How a text begins").fill("The judge <b>grants</b>")
    tab.get_by_label("Temperature").fill("0")
    tab.get_by_role("button", name="Go on from here").click()
    expect(tab.locator("#ended")).not_to_be_empty()
    assert tab.locator("#began").inner_text() == "The judge <b>grants</b>"
    assert tab.locator("#text").inner_text().strip()
    assert tab.get_by_role("button", name="Stop").is_hidden()


def test_all_of_it_works_without_script(browse, home, served, pages):
    tab = browse(width=375, script=False)
    tab.goto(home + "/ask")
    tab.get_by_label("Your question").fill("Who owes the rent?")
    tab.get_by_role("button", name="Ask").click()
    tab.wait_for_url("**/ask?q=Who**")
    sentence = tab.locator(".answer blockquote p").first.inner_text()
    tab.locator(".answer .cite").first.click()
    assert tab.locator("#cited").inner_text() == sentence
    assert marked(ask(served, re.sub("#.*", "", tab.url.removeprefix(home)))[1]) == sentence
    tab.goto(home + "/corpus/threshold")
    assert tab.get_by_role("slider").is_hidden()
    tab.locator("#value").fill("60")
    tab.get_by_role("button", name="Show what changes").click()
    change = what_if(pages.held, {"has words": 60.0})
    assert tab.locator("#kept").inner_text() == f"{change.kept:,}"
    tab.goto(home + "/model")
    tab.get_by_label("How a text begins").fill("The judge")
    tab.get_by_role("button", name="Go on from here").click()
    assert tab.locator("#ended").inner_text()


@pytest.mark.parametrize("width, dark", [(1200, False), (375, True)])
def test_axe_finds_nothing_serious(browse, home, pages, width, dark):
    tab = browse(width=width, dark=dark)
    dropped = next(row for row in range(len(pages.held.kept)) if not pages.held.kept[row])
    id = pages.held.decision(dropped).id
    for path in (*PATHS, f"/document/{id}?start=0&stop=20#cited"):
        tab.goto(home + path)
        axe.check(tab)


def test_the_report_runs_nothing_and_is_readable(browse, home, pages):
    tab = browse(width=375)
    tab.goto((pages.run.folder / "report" / "report.html").as_uri())
    axe.check(tab)
    # Served, it lies in a sandbox: links within it work, a script would not.
    tab = browse(script=False)
    tab.goto(home + "/report")
    tab.get_by_role("link", name="Contamination").click()
    tab.wait_for_url("**/report/whole#contamination")
    expect(tab.locator("#contamination")).to_be_in_viewport()


def test_hostile_documents_run_nothing(browse, harmful, harm):
    tab = browse()
    address = f"http://{harmful[0]}:{harmful[1]}"
    ids = harm.held.columns.column("id").to_pylist()[:6]
    paths = ["/search?q=zebra", "/ask?q=zebra", "/corpus", "/corpus/documents", "/report",
             *(f"/document/{id}" for id in ids)]  # fmt: skip
    for path in paths:
        tab.goto(address + path)
        assert tab.evaluate("window.evil") is None
    axe.check(tab)
