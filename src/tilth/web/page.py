"""One page: drawn from a template, with the headers that every page has; what a form holds.

Templates are Jinja2 files of this package, with escaping on and unknown names refused. No page has
a script or a style of its own inside: both come from `/static`. Pages that strangers may see (mail
routes, refusals) are `bare`: they hold the whole of one small style sheet, which the policy of
contents names by its digest, for `/static` wants the key where there is one.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse

from tilth.errors import UsageError
from tilth.serving.refusal import Refused
from tilth.web import static

if TYPE_CHECKING:
    import jinja2

# Fields of one form, and letters of one field.
FIELDS, LETTERS = 64, 20_000

# What a refusal is called for people.
TITLES = {401: "The key is wanted", 403: "Not allowed", 404: "Not found",
          405: "Not done that way", 409: "One at a time", 413: "Too large",
          429: "Too many at a time"}  # fmt: skip
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # With no-referrer a browser sends `Origin: null` with a form, and the guard refuses that.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def render(
    template: str, *, here: str = "", run: Any = None, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page from a template below `templates`. Raises jinja2.UndefinedError for a missing value.

    `here`: the section of the navigation, as `papers`. `run`: None where no run is served; its
    sections are then left out of the navigation.
    """
    body = _templates().get_template(template).render(values, here=here, run=run)
    return HTMLResponse(body, status, HEADERS)


def render_bare(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page that needs nothing else from the server; its template extends `bare.html`."""
    style = _bare_style()
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    policy = POLICY.replace("style-src 'self'", f"style-src 'sha256-{digest}'")
    body = _templates().get_template(template).render(values, style=style)
    return HTMLResponse(body, status, {**HEADERS, "content-security-policy": policy})


def refused_page(refused: Refused) -> tuple[bytes, dict[str, str]]:
    """A refusal as a page: its bytes and headers. What the guard sends to browsers."""
    other = "Not understood" if refused.status < 500 else "The server failed"
    title = TITLES.get(refused.status, other)
    drawn = render_bare("refused.html", title=title, message=refused.message)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in drawn.raw_headers}
    return bytes(drawn.body), headers


def trusted(request: Request) -> bool:
    """Whether the key or the token of the printed address was given; see serving.guard."""
    return bool(request.scope.get("tilth.trusted"))


def form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; of two of one name the last. Raises UsageError."""
    try:
        text = request.state.body.decode("utf-8")
        found = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS))
    except ValueError:
        raise UsageError("the form cannot be read") from None
    if any(len(value) > LETTERS for value in found.values()):
        raise UsageError(f"a field holds more than {LETTERS:,} letters")
    return found


def address(path: str, **query: Any) -> str:
    """A path with its query; what is empty or None is left out."""
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path


def warm() -> None:
    """Compile all templates, so that the first page is as quick as the next."""
    for name in _templates().list_templates():
        _templates().get_template(name)


@functools.cache
def _bare_style() -> str:
    return files("tilth.web").joinpath("static", "bare.css").read_text("utf-8")


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    from tilth.evaluation.results import number
    from tilth.report.wording import clean, figure

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tilth.web", "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.globals.update(static=static.address, address=address)
    made.filters.update(number=number, day=day, many=many, figure=figure, clean=clean)
    return made


def day(date: str) -> str:
    """An ISO date, or date and time, for people: `24 November 2026`."""
    found = datetime.date.fromisoformat(date[:10])
    return f"{found.day} {found:%B} {found.year}"


def many(count: int, word: str, words: str = "") -> str:
    """A count with its noun: `1 paper`, `98 papers`."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"
