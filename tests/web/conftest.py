"""One site, one server and one browser for all tests of pages."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import web_site

from tilth.web.visitors import Visitors

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    site = web_site.make_site(tmp_path_factory.mktemp("site"))
    yield site
    site.stop()


@pytest.fixture(autouse=True)
def newcomers(request):
    """All tests come from one address, and only so many new visitors an hour may."""
    if "site" in request.fixturenames:
        site = request.getfixturevalue("site")
        site.visitors = Visitors(site.secret)


@pytest.fixture(scope="session")
def server(site):
    with web_site.serving(site) as address:
        yield address


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium. Skips where there is none."""
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium):
    """`browse(width=..., dark=..., script=...)`: a tab with cookies of its own. At the end no page
    may have met an error, in a script or from the policy of contents."""
    contexts, wrong = [], []

    def open_tab(width=1200, dark=False, script=True):
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, java_script_enabled=script,
            color_scheme="dark" if dark else "light",
        )  # fmt: skip
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(30_000)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
        return tab

    yield open_tab
    for context in contexts:
        context.close()
    assert wrong == []
