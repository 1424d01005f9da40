"""The papers pages in a real browser: by mouse, by keys alone, without script; axe-core."""

import sys
import time

import pytest
from web_site import TOKEN

from tilth.papers.digest import Digest
from tilth.papers.digest.tokens import sign
from tilth.web.smoke import Smokes

PATHS = ("/papers", "/papers?q=gutenberg&how=words", "/papers/bert2bert", "/papers/key-phrases",
         "/board", "/day/2020-01-01")  # fmt: skip


@pytest.fixture
def home(server):
    return f"http://{server[0]}:{server[1]}"


def test_filter_open_vote_run_and_watch(browse, home, site):
    tab = browse()
    tab.goto(f"{home}/?token={TOKEN}")
    assert tab.url == f"{home}/papers"
    tab.get_by_role("navigation", name="Filters").get_by_role("link", name="corpus").click()
    tab.wait_for_url("**/papers?family=corpus")
    assert "16 papers in corpus" in tab.get_by_role("status").inner_text()
    tab.get_by_role("link", name="A standardized Project Gutenberg corpus").click()
    tab.wait_for_url("**/papers/spgc")
    assert tab.locator("svg.interval").get_attribute("aria-label").startswith("F1 <b>of</b> lines")
    before = site.library.paper("spgc").votes
    button = tab.get_by_role("button", name="Vote for")
    button.click()
    tab.wait_for_selector(".vote [aria-pressed=true]")
    assert button.inner_text().strip() == str(before + 1)
    assert site.library.paper("spgc").votes == before + 1
    button.click()
    tab.wait_for_selector(".vote [aria-pressed=false]")
    assert site.library.paper("spgc").votes == before
    # The real system, in a child process of the server.
    tab.get_by_role("button", name="Run spgc", exact=True).click()
    tab.wait_for_url("**/smoke/*")
    tab.wait_for_selector("#state.finished", timeout=120_000)
    assert "not judged" in tab.get_by_role("table").inner_text()
    assert "spgc: seeds 1/1" in tab.locator("#log").inner_text()


def test_keys_alone_are_enough(browse, home):
    tab = browse()
    tab.goto(f"{home}/papers")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the page"
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "q"  # The search comes first.
    tab.keyboard.type("gutenberg")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/papers?q=gutenberg*")
    for _ in range(60):
        tab.keyboard.press("Tab")
        seen = tab.evaluate("""() => {
            const one = document.activeElement, box = one.getBoundingClientRect();
            return [one.getAttribute("href"), box.width * box.height > 0,
                    getComputedStyle(one).outlineStyle !== "none"];
        }""")
        assert seen[1] and seen[2], seen
        if seen[0] == "/papers/spgc":
            break
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/papers/spgc")


def test_all_works_without_script(browse, home, site):
    tab = browse(script=False)
    tab.goto(f"{home}/?token={TOKEN}")
    tab.fill("#q", "gutenberg")
    tab.get_by_role("button", name="Search").click()
    tab.wait_for_url("**/papers?q=gutenberg*")
    before = site.library.paper("spgc").votes
    tab.locator("#p-spgc .vote button").click()
    tab.wait_for_url("**#p-spgc")
    assert site.library.paper("spgc").votes == before + 1
    tab.locator("#p-spgc h3 a").click()
    tab.get_by_role("button", name="Run spgc", exact=True).click()
    tab.wait_for_url("**/smoke/*")
    # The page loads itself again until it is through.
    tab.wait_for_selector("#state.finished", timeout=120_000)
    tab.goto(f"{home}/papers/spgc")
    tab.locator(".vote button").click()
    tab.wait_for_url("**/papers/spgc#p-spgc")
    assert site.library.paper("spgc").votes == before


def test_hostile_papers_run_nothing(browse, home, site):
    tab = browse()
    evil = [one.id for one in site.library.papers(limit=1000) if not one.built_in]
    for path in ("/papers", "/papers?family=%3Ci%3E", *(f"/papers/{id}" for id in evil)):
        tab.goto(home + path)
        assert tab.evaluate("window.evil") is None
        assert tab.locator("main img, main script, main iframe").count() == 0
        wide = tab.evaluate("document.documentElement.scrollWidth")
        assert wide <= 1200
    tab.goto(f"{home}/papers/{evil[0]}")
    assert tab.locator("h1").count() == 1


@pytest.mark.parametrize("width, dark", [(1200, False), (375, True)])
def test_axe_finds_nothing_serious(browse, home, width, dark):
    axe = pytest.importorskip("axe")
    tab = browse(width=width, dark=dark)
    tab.goto(f"{home}/?token={TOKEN}")
    for path in PATHS:
        tab.goto(home + path)
        axe.check(tab)


def test_axe_on_the_small_pages(browse, chromium, home, site, monkeypatch):
    """Mails' pages, the answer to a subscription, a run that goes on, a refusal."""
    axe = pytest.importorskip("axe")
    waits = [sys.executable, "-c", "print('a', flush=True); import time; time.sleep(600)"]
    monkeypatch.setattr(site, "smokes", Smokes(["spgc"], program=waits))
    tab = browse(width=375)
    tab.goto(f"{home}/?token={TOKEN}")
    tab.fill("#address", "reader@example.org")
    tab.get_by_role("button", name="Subscribe").click()
    tab.wait_for_url("**/subscribe")
    axe.check(tab)
    (wish,) = [one for one in Digest(site.library, site.secret).listed()[0]
               if one.address == "reader@example.org"]  # fmt: skip
    for purpose in ("unsubscribe", "confirm"):
        token = sign(site.secret, purpose, wish.id, int(time.time()))
        tab.goto(f"{home}/mail/{purpose}/{token}")
        assert tab.get_by_role("button").count() == 1
        axe.check(tab)
    tab.get_by_role("button").click()
    tab.wait_for_selector("text=This subscription is confirmed")
    axe.check(tab)
    tab.goto(f"{home}/papers/spgc")
    tab.get_by_role("button", name="Run spgc", exact=True).click()
    tab.wait_for_selector("text=running")
    axe.check(tab)
    tab.get_by_role("button", name="Cancel").click()
    tab.wait_for_selector("#state.cancelled")
    # The browser tells of every refusal as an error, so this is no tab of `browse`.
    context = chromium.new_context()
    refused = context.new_page()
    refused.goto(f"{home}/papers/nothing")
    assert refused.locator("h1").inner_text() == "Not found"
    axe.check(refused)
    context.close()
