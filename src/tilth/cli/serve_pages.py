"""What `tilth serve` draws pages from: the library of papers, results, a run where one is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.routing import Route

    from tilth.serving.http import Service
    from tilth.web.site import Site


def open_site(
    folder: str, service: Service, *, llm: str, public_url: str, results: str = "results",
    library: str = "", llm_model: str = "", llm_key: str = "", papers_encoder: str = "",
) -> Site:  # fmt: skip
    """The pages of papers, and those of a run where `folder` is one.

    Raises DataError for a library or an encoder that cannot be opened, UsageError for options
    without a run.
    """
    import threading

    from tilth.errors import UsageError
    from tilth.papers.builtin import open_library
    from tilth.papers.digest.tokens import secret
    from tilth.web import page
    from tilth.web.known import Known
    from tilth.web.site import Site

    papers = open_library(library)
    encoder = None
    if papers_encoder:
        from tilth.retrieval.encoders import load_encoder

        # A wrong folder is refused now, not at somebody's first search.
        encoder = load_encoder(papers_encoder)
    site = Site(papers, Known(results), secret(papers.path), encoder=encoder)
    if public_url:
        import os

        from tilth.papers.digest import Digest
        from tilth.papers.digest.smtp import mail_server

        # The confirmation of a subscription leaves at once, and whatever else waits; digests are
        # made by the command.
        server = mail_server("", os.environ)
        site.post = Digest(papers, site.secret, public_url).poster(server, lambda: site.measured)
    if folder and (Path(folder) / "plan.resolved.toml").is_file():
        site.run = run_pages(folder, service, llm, llm_model, llm_key)
    elif llm:
        raise UsageError("--llm answers questions about a run", hint="tilth serve RUN --llm ...")
    page.warm()
    threading.Thread(target=site.warm, name="tilth-warm", daemon=True).start()
    return site


def page_routes(site: Site) -> list[Route]:
    """The routes of all pages."""
    from tilth.web.site import routes

    found = routes(site)
    if site.run is not None:
        from tilth.web.run import routes as run_routes

        found += run_routes(site.run)
    return found


def run_pages(folder: str, service: Service, llm: str, llm_model: str, llm_key: str) -> Any:
    """What the pages of a run are drawn from; None, with a word, where it has no corpus to show.

    Raises UsageError where an LLM is given and there is nothing that it could answer from.
    """
    import sys
    from urllib.parse import urlsplit

    from tilth.errors import UsageError

    if not (Path(folder) / "corpus").is_dir():
        if llm:
            raise UsageError("has no corpus that --llm could answer from", where=folder)
        sys.stderr.write(f"{folder} has no corpus to show: its pages are left out\n")
        return None
    from tilth.build.run import Run
    from tilth.serving.llm import open_llm
    from tilth.web.run import RunPages

    generator = open_llm(llm, model=llm_model, key=llm_key) if llm else None
    # Where questions go is said on the page; a path is on this machine.
    goes_to = urlsplit(llm).hostname or "" if "://" in llm else ""
    return RunPages(Run(Path(folder)), text=service.text, generator=generator, leaves=goes_to)
