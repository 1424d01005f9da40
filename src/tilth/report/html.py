"""The report as one HTML page: no script, nothing from the network, drawn from the JSON alone."""

from __future__ import annotations

from importlib.resources import files

from tilth.report.markup import Html, join, link, tag
from tilth.report.sections import SECTIONS, Report, weak_mark

# No script, font, image or frame could load, even if one got in.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def draw(report: Report) -> str:
    """The whole page."""
    style = files("tilth.report").joinpath("style.css").read_text("utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", report["title"]),
        tag("style", Html(style)),
    )
    links = tag("ul", [tag("li", link(name, title)) for name, title, _ in SECTIONS])
    body = tag(
        "body",
        tag("a", "Skip to the sections", href="#sections", class_="skip"),
        tag("header", tag("h1", report["title"]), _headline(report)),
        tag(
            "main",
            _first_screen(report),
            tag("nav", links, aria_label="Sections", id="sections"),
            [
                tag("section", tag("h2", title, id=name), "\n", section(report), "\n")
                for name, title, section in SECTIONS
            ],
        ),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


# The first screen.


def _headline(report: Report) -> Html:
    screen = report["first_screen"]
    return tag("p", screen["headline"], [weak_mark(sentence) for sentence in screen["weak"]])


def _first_screen(report: Report) -> Html:
    screen = report["first_screen"]
    findings = [
        tag(
            "li", tag("strong", entry["name"]), f": {entry['sentence']} ",
            tag("a", "evidence", href=f"#{entry['link']}", aria_label=f"evidence: {entry['name']}"),
        )
        for entry in screen["findings"]
    ]  # fmt: skip
    questions = [
        join(
            tag("h3", link(entry["link"], entry["question"])),
            tag(
                "p", entry["sentence"], [weak_mark(sentence) for sentence in entry["weak"]],
                class_="answer",
            ),
        )
        for entry in screen["questions"]
    ]  # fmt: skip
    return tag(
        "div",
        tag("section", tag("h2", "What these documents are", id="findings"), tag("ol", findings)),
        tag("section", tag("h2", "What they are good for", id="questions"), questions),
        class_="first",
    )
