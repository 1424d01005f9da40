"""axe-core on a page: what is serious. Its script comes with axe-playwright-python."""

import functools
from importlib.resources import files


@functools.cache
def _script():
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def check(tab):
    """Asserts that a page has no serious or critical finding, and does not scroll sideways."""
    # By the protocol of the browser, past the policy of contents: the page itself may not do it.
    tab.evaluate(_script() + ";undefined")
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        (one["id"], one["help"], [node["target"] for node in one["nodes"]][:5])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == [], tab.url
    wide = tab.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0, f"{tab.url} is {wide} too wide"
