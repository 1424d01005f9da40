"""A site with hostile papers and made results, its server in a thread, and requests to it."""

import contextlib
import http.client
import socket
import sys
import threading
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from http_server import Announced

from tilth.evaluation.runner import code_digest
from tilth.papers.builtin import open_library
from tilth.papers.digest.tokens import secret
from tilth.papers.paper import made_paper
from tilth.report.papers import Unloaded, read_cards
from tilth.serving import http as api
from tilth.serving.guard import Guard
from tilth.serving.limits import Limits
from tilth.store.write import write_json
from tilth.systems import SYSTEMS
from tilth.web import page
from tilth.web.known import Known
from tilth.web.site import Site, routes

TOKEN = "a-token-of-the-tests-0123456789"
EVIL = "<script>window.evil = 1</script><img src=x onerror=window.evil=1> {{ 7 * 7 }} \"'>"


def claim(primary, verdict, low, high, margin, paper=None):
    """One claim as a result holds it; the difference in the middle of the interval."""
    return {
        "metric": "F1 <b>of</b> lines", "primary": primary, "baseline": "plain", "method": "ours",
        "baseline_value": 0.5, "method_value": 0.7, "difference": (low + high) / 2, "ci_low": low,
        "ci_high": high, "margin": margin, "paper": paper, "verdict": verdict,
        "interval_from": "seeds", "examples": 20, "would_decide": "",
    }  # fmt: skip


def write_result(folder, slug, verdict, low, high, margin, paper=None):
    """A result of a system, with the digest of the code as it is."""
    card = read_cards()[slug]
    claims = [claim(True, verdict, low, high, margin, paper), claim(False, "undecided", -1, 1, 0.1)]
    write_json(
        Path(folder) / f"{slug}.json",
        {
            "slug": slug, "scale": "small", "verdict": verdict, "claims": claims,
            "invariants": [{"name": "counts add up", "holds": True}], "seeds": 5, "runs": [],
            "data": [{"name": "books", "digest": "0", "licence": "public domain"}], "models": [],
            "code": code_digest(Unloaded(card, SYSTEMS[slug])), "versions": {}, "threads": 2,
            "driver": "none", "seconds": 12.0, "date": "2026-11-24",
        },
    )  # fmt: skip


def make_site(folder):
    """A site with the built-in papers, three imported ones that mean harm, three results."""
    library = open_library(folder / "papers.sqlite")
    # At the very second of the others: which page a paper is on must not depend on the clock.
    at = datetime.fromisoformat(library.paper("spgc").added)
    library.add([
        made_paper(EVIL, authors=(EVIL, "B", "C", "D"), summary=EVIL, abstract=EVIL + "\n\nx",
                   address="https://example.org/?a=<b>&c=\"d\"", family="<i>", source="bibtex <u>"),
        made_paper("javascript", address="javascript:alert(1)", summary="plain"),
        made_paper("Long " + "word" * 200, summary="\u202etxt.exe " * 40),
    ], at)  # fmt: skip
    results = folder / "results"
    write_result(results, "spgc", "holds", 0.1, 0.3, 0.05)
    write_result(results, "bert2bert", "direction only", 0.1, 0.4, 0.2, paper=0.47)
    write_result(results, "retro", "does not hold here", -0.3, -0.1, 0.01)
    return Site(library, Known(results), secret(library.path))


@contextlib.contextmanager
def serving(site, more=(), **guard):
    """The address of a server of a site, as (host, port). `more`: further routes."""
    listener = socket.create_server(("127.0.0.1", 0))
    found = [*routes(site), *more, *api.routes(api.Service(limits=Limits(body=200_000)))]
    guard = {"token": TOKEN, "drawn": page.refused_page, **guard}
    app = Guard(api.application(found), limits=Limits(body=200_000), **guard)
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None,
                            access_log=False, timeout_graceful_shutdown=5)  # fmt: skip
    server = Announced(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    assert server.ready.wait(60)
    try:
        yield listener.getsockname()
    finally:
        # The site may be served again: only what runs is ended.
        if site.smokes.current is not None:
            site.smokes.current.cancel()
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def ask(address, path, form=None, method=None, **headers):
    """(status, text, headers) of one request as a browser makes it; `form`: fields, or bytes."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    host = f"{address[0]}:{address[1]}"
    given = {"accept": "text/html", "host": host}
    data = None
    if form is not None:
        data = form if isinstance(form, bytes) else urlencode(form).encode()
        given |= {"origin": f"http://{host}", "content-type": "application/x-www-form-urlencoded"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(
            method or ("GET" if form is None else "POST"), path, data,
            {name: value for name, value in given.items() if value is not None},
        )  # fmt: skip
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8"), answer.headers
    finally:
        connection.close()


def let_in(address):
    """The cookie that the printed address gives."""
    status, _, headers = ask(address, f"/?token={TOKEN}")
    assert status == 303 and headers["location"] == "/"
    return headers["set-cookie"].partition(";")[0]
