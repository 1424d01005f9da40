"""The guard for browsers: key, token, cookie, Host, Origin, the list of open routes, refusals."""

import base64
import random
from urllib.parse import unquote

import pytest
from web_site import TOKEN, ask, let_in, serving

from tilth.serving import http as api
from tilth.serving.guard import OPEN, is_open
from tilth.web.site import ROUTES

KEY = "a-key-of-at-least-16-letters"


def paths():
    """Every route of pages and API, with something in each hole."""
    for method, path, *_ in (*ROUTES, *api.ROUTES):
        yield method, (path.replace("{model:path}", "x").replace("{day}", "2026-01-01")
                       .replace("{name}", "site.css").replace("{id}", "spgc")
                       .replace("{number}", "1").replace("{token}", "x"))  # fmt: skip


def basic(key, name="anybody"):
    return "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()


def test_every_route_but_the_open_ones_wants_the_key(site):
    from tilth.web.run import ROUTES as run_routes  # E's table is walked as well.

    assert run_routes
    with serving(site, key=KEY, token="") as address:
        walked = [*paths(), ("GET", "/nowhere"), ("GET", "/mail/confirm/"), ("GET", "/mail"),
                  ("GET", "/mail/confirm/a/b"), ("GET", "/mail/confirm/..%2f..%2fboard"),
                  ("GET", "/Health"), ("GET", "//papers"),
                  ("GET", "/static/papers.js")]  # fmt: skip
        walked += [(method, path.replace("{id}", "x").replace("{path:path}", "x"))
                   for method, path, *_ in run_routes]  # fmt: skip
        opened = set()
        for method, path in walked:
            form = {} if method == "POST" else None
            for wrong in (None, "Bearer wrong", basic("wrong"), basic(""), "Basic !!", KEY):
                status, text, headers = ask(address, path, form, authorization=wrong)
                if is_open(unquote(path)):
                    opened.add(path)
                    assert status != 401
                else:
                    assert status == 401, path
                    assert headers["www-authenticate"].startswith("Basic ")
                    assert "<h1>The key is wanted</h1>" in text
            if path != "/papers/spgc/smoke":
                assert ask(address, path, form, authorization=basic(KEY))[0] != 401
        assert opened == {"/health", "/mail/confirm/x", "/mail/unsubscribe/x"}
        assert {"/health"} == OPEN
        assert ask(address, "/papers", authorization=f"Bearer {KEY}")[0] == 200
        # Programs are told in their own form.
        _, text, headers = ask(address, "/papers", accept="*/*")
        assert headers["www-authenticate"] == "Bearer" and text.startswith("{")
        # A token is nothing where there is a key.
        assert ask(address, f"/papers?token={TOKEN}")[0] == 401


def test_the_token_becomes_a_cookie_once(server):
    cookie = let_in(server)
    assert TOKEN not in cookie
    _, _, headers = ask(server, f"/papers/spgc?token={TOKEN}&x=1")
    assert headers["location"] == "/papers/spgc"
    given = headers["set-cookie"]
    assert "HttpOnly" in given and "SameSite=Strict" in given and "Path=/" in given
    # Two slashes would name another host.
    for path in ("//evil.example/x", "/\\evil.example", "//evil.example//"):
        assert ask(server, f"{path}?token={TOKEN}")[2]["location"].startswith("/evil.example")


def test_without_the_cookie_one_may_read_and_start_nothing(server):
    path = "/papers/spgc/smoke"
    right = let_in(server)
    name, _, value = right.partition("=")
    draw = random.Random(1)
    guesses = ["", value[:-1], value + "0", value.swapcase() + "x", TOKEN, "0" * len(value)]
    guesses += ["".join(draw.choices("0123456789abcdef", k=len(value))) for _ in range(50)]
    for guess in guesses:
        assert ask(server, path, {}, cookie=f"{name}={guess}")[0] == 403
    for other in ("tilth-1", "tilth", name.upper()):
        assert ask(server, path, {}, cookie=f"{other}={value}")[0] == 403
    for token in ("", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%00"):
        status, text, headers = ask(server, f"/papers?token={token}")
        assert status == 403 and "set-cookie" not in headers and "token" in text
    assert ask(server, "/papers/spgc")[0] == 200
    assert ask(server, "/papers?xtoken=1&q=token")[0] == 200  # Other fields are none.
    assert ask(server, f"{path}?token={TOKEN}", {})[0] == 403  # A form is not let in by it.


def test_a_cookie_of_another_server_opens_nothing(site, server):
    cookie = let_in(server)
    with serving(site, token="another-token-of-the-tests") as other:
        mine = f"tilth-{other[1]}={cookie.partition('=')[2]}"
        assert ask(other, "/papers/spgc/smoke", {}, cookie=mine)[0] == 403
        assert ask(other, "/papers/spgc/smoke", {}, cookie=cookie)[0] == 403
        assert ask(other, f"/papers?token={TOKEN}")[0] == 403


def test_forms_of_other_pages_are_refused(server, site):
    cookie = let_in(server)
    before = site.library.paper("spgc").votes
    host = f"{server[0]}:{server[1]}"
    for origin in (None, "null", "http://evil.example", f"http://{server[0]}", f"http://{host}.x",
                   f"http://evil.example@{host}", f"https://{host}x", f"ftp://{host}"):  # fmt: skip
        for path in ("/papers/spgc/vote", "/papers/spgc/smoke", "/subscribe", "/smoke/1/cancel"):
            assert ask(server, path, {}, cookie=cookie, origin=origin)[0] == 403, (path, origin)
    assert site.library.paper("spgc").votes == before and site.smokes.current is None
    # Nothing changes by being looked at.
    for path in ("/papers/spgc/vote", "/papers/spgc/smoke", "/subscribe"):
        assert ask(server, path, cookie=cookie)[0] == 405


HOSTS = ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "",
         "[::1", "a@127.0.0.1.x"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_name_turned_to_this_machine_is_not_served(server, host):
    status, text, _ = ask(server, "/papers", host=host)
    assert status == 403 and "spgc" not in text


def test_refusals_are_pages_for_browsers_only(server):
    status, text, headers = ask(server, "/papers/<script>alert(1)<script>".replace(" ", ""))
    assert status == 404 and "<script>alert" not in text and "<h1>Not found</h1>" in text
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "style-src 'sha256-" in policy
    assert headers["content-type"] == "text/html; charset=utf-8"
    status, text, headers = ask(server, "/papers/x", accept="application/json")
    assert status == 404 and headers["content-type"] == "application/json"
    status, text, _ = ask(server, "/nowhere")
    assert status == 404 and "there is no GET /nowhere here" in text


def bombard(address, count, seed):
    """Requests with random paths, bodies and headers to every route."""
    draw = random.Random(seed)
    known = list(paths())
    pieces = ["a", "%", "=", "&", "\0", "\xff", "<", "%ff", "%00", "../", "x" * 300, "1", "-1",
              "back=", "take=back", "address=", "{", "\r\n", "\u20ac"]  # fmt: skip
    cookie = let_in(address)
    for _ in range(count):
        method, path = draw.choice(known)
        if path.endswith("/smoke"):
            continue
        body = "".join(draw.choices(pieces, k=draw.randrange(12))).encode("utf-8", "replace")
        if draw.random() < 0.3:
            path += "?" + "".join(draw.choices(["q=", "&", "%ff", "page=", "1", "token", "%00",
                                                "family=", "how=both"], k=4))  # fmt: skip
        given = {"cookie": draw.choice([cookie, "tilth-visitor=" + "a" * 97, "=;=;", ""])}
        form = body if method == "POST" or draw.random() < 0.2 else None
        status, _, _ = ask(address, path, form, method=method, **given)
        assert status < 500 and status != 100, (method, path, body)


def test_random_bodies_stop_nothing(server):
    bombard(server, 150, 3)
    assert ask(server, "/health")[0] == 200 and ask(server, "/papers")[0] == 200


@pytest.mark.soak
def test_ten_thousand_random_bodies(server):
    import resource

    bombard(server, 2_000, 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bombard(server, 8_000, 5)
    assert ask(server, "/health")[0] == 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
