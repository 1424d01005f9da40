"""`tilth serve`: the pages of papers and of a run; its model and encoder in OpenAI's form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import socket

    from tilth.serving.http import Service
    from tilth.serving.limits import Limits
    from tilth.web.site import Site

KEY = "TILTH_SERVE_KEY"
# What --set takes, with the type of each: options of the engine, and of the pages.
ENGINE = {"policy": str, "row": int, "sequences": int, "memory": int, "block": int, "dtype": str,
          "device": str, "draft": str, "strategy": str, "length": int}  # fmt: skip
PAGES = {"results": str, "library": str, "papers_encoder": str, "llm_model": str, "llm_key": str}
SETTINGS = {**ENGINE, **PAGES}
# Of these, what only --llm uses; and what shapes the row that many requests share.
LLM = ("llm_model", "llm_key")
BATCH = ("policy", "row")
# A key is guessed by nobody: the server does not count wrong ones.
SHORTEST = 16
# Seconds after which a reader that takes nothing loses its connection.
STUCK = 60


def serve(
    model: Annotated[
        str,
        typer.Argument(help="A run folder, or the folder of a model or of an encoder; or nothing."),
    ] = "",
    host: Annotated[
        str, typer.Option(help="The address to bind to; beyond this machine a key is wanted.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    name: Annotated[
        list[str] | None, typer.Option(help="A further host name under which it is reached.")
    ] = None,
    called: Annotated[str, typer.Option(help="The model's name; else that of its folder.")] = "",
    encoder: Annotated[str, typer.Option(help="The folder of an encoder for embeddings.")] = "",
    key_file: Annotated[
        str, typer.Option(help=f"A file that holds the key; else it is taken from ${KEY}.")
    ] = "",
    llm: Annotated[
        str, typer.Option(help="What answers on the page Ask: an address, a model, a replay file.")
    ] = "",
    public_url: Annotated[
        str, typer.Option(help="The address that mails lead to; they then leave at once.")
    ] = "",
    queue: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="128",
            help="Answers that wait or run at a time; more are told to wait.",
        ),
    ] = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for one answer.")] = 600.0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="name=value; docs/serving.md, docs/pages.md.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Serve pages for a browser, and a model in the form of OpenAI's API, until interrupted.

    Without a folder: papers and the board, and an encoder where one is named. With a run: search,
    ask, its corpus, report and model too. Completions, chats and embeddings, whole or as a stream;
    answers that are under way are finished when the server is told to stop (Ctrl-C, SIGTERM). No
    text leaves this machine, but for questions and passages where --llm is the address of another,
    and mails to subscribers with --public-url.

    Examples:

        tilth serve

        tilth serve my-run

        tilth serve my-model --port 8001 --set sequences=16

        tilth serve my-model --set draft=my-small-model --set strategy=turns

        tilth serve my-model --host 0.0.0.0 --key-file key.txt --name models.example.org
    """
    import asyncio
    import secrets
    import sys

    from tilth.cli.output import emit, info
    from tilth.errors import MissingExtra, UsageError
    from tilth.papers.digest.smtp import loopback

    key = _key(key_file)
    # Papers and the board may be for everybody; the texts and the time of a model are not.
    served = bool(model or encoder or llm)
    names = [*_public(public_url), *(one.lower().rstrip(".") for one in name or ())]
    elsewhere = [one for one in names if served and not loopback(one)]
    if not loopback(host):
        elsewhere.insert(0, host)
    if elsewhere and not key:
        raise UsageError(f"{elsewhere[0]} can be reached from elsewhere, so the server wants a key",
                         hint=f"--key-file FILE, or ${KEY}")  # fmt: skip
    options = _settings(settings or ())
    for setting in LLM:
        if setting in options and not llm:
            raise UsageError(f"{setting} is a setting of --llm", where="--set")
    try:
        import uvicorn

        from tilth.serving.http import application, routes
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the server needs {error.name}", extra="web") from None
    from tilth.cli.serve_pages import open_site, page_routes
    from tilth.serving.guard import Guard
    from tilth.serving.limits import Limits
    from tilth.web.page import refused_page

    limits = Limits(queue=queue or Limits.queue, deadline=deadline)
    listener = _listen(host, port)
    try:
        engine = {name: value for name, value in options.items() if name in ENGINE}
        said = {"--called": called, "--queue": queue}
        service = _service(model, encoder, engine, said, limits)
        pages = {name: value for name, value in options.items() if name in PAGES}
        site = open_site(model, service, llm=llm, public_url=public_url, **pages)
    except BaseException:
        listener.close()
        raise
    token = "" if key else secrets.token_urlsafe(24)
    app = Guard(
        application([*page_routes(site), *routes(service)]), key=key, token=token,
        names=[host, *names], limits=limits, drawn=refused_page,
    )  # fmt: skip
    at, taken = listener.getsockname()[:2]
    url = f"http://[{at}]:{taken}" if ":" in at else f"http://{at}:{taken}"
    page = f"{url}/?token={token}" if token else f"{url}/"
    models = [one["id"] for one in service.listed()]
    made = {"url": url, "page": page, "models": models, "key": bool(key)}

    class Announced(uvicorn.Server):
        """Says where it is as soon as it answers."""

        async def startup(self, *given: Any, **named: Any) -> None:
            await super().startup(*given, **named)
            if not emit(made, json):
                info(f"serving {', '.join(models) or 'papers'}: open {page}")
            _flush()

        async def shutdown(self, *given: Any, **named: Any) -> None:
            if count := len(self.server_state.tasks):
                sys.stderr.write(f"stopping: requests under way are finished first ({count:,}); "
                                 "Ctrl-C breaks them off\n")  # fmt: skip
                sys.stderr.flush()
            # What runs for a page ends first: a page that watches it would be waited for.
            await asyncio.to_thread(site.stop)
            await super().shutdown(*given, **named)

    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", access_log=False, server_header=False,
        log_level="warning", log_config=None, timeout_keep_alive=15,
        timeout_graceful_shutdown=int(deadline) + 1,
    )  # fmt: skip
    _drained(Announced(config), listener, service, site)


def _drained(server: Any, listener: socket.socket, service: Service, site: Site) -> None:
    """Run until a signal says stop, and end what was begun."""
    import gc
    import signal

    # What is there from the start is no garbage: to look through it takes a third of a second, in
    # which nobody is answered.
    gc.freeze()

    # uvicorn raises the signal again when it is through: by then there is nothing left to do.
    ours = (signal.SIGTERM, signal.SIGINT)
    before = {one: signal.signal(one, lambda *ignored: None) for one in ours}
    try:
        server.run(sockets=[listener])
    finally:
        site.stop()
        service.stop()
        for one, handler in before.items():
            signal.signal(one, handler)


def _service(
    model: str, encoder: str, engine: dict[str, Any], said: dict[str, Any], limits: Limits
) -> Service:
    """What the folders hold, opened. `engine`: settings of a language model; `said`: options of
    whatever is served, --called among them. Raises DataError for a folder that holds nothing that
    can be served, UsageError for what would have no effect."""
    from tilth.errors import UsageError
    from tilth.serving.http import Service

    texts, vectors = _parts(model, encoder)
    if texts is None:
        for name in engine:
            raise UsageError(f"{name} is a setting of a language model, and none is served",
                             where="--set")  # fmt: skip
    elif "draft" in engine and (idle := next((one for one in BATCH if one in engine), "")):
        raise UsageError(f"{idle} is for many requests in a row of tokens, and with a draft they "
                         "are answered one after the other", where="--set")  # fmt: skip
    if texts is None and vectors is None and (idle := next((one for one in said if said[one]), "")):
        raise UsageError(f"{idle} has no effect: neither a model nor an encoder is served")
    name = said["--called"] or Path(model or encoder).resolve().name
    service = Service(limits=limits)
    if vectors is not None:
        from tilth.retrieval.encoders import load_encoder
        from tilth.serving.embedder import Embedder

        own = f"{name}-encoder" if texts is not None else name
        service.embedder = Embedder(own, load_encoder(vectors), limits.queue)
    if texts is not None:
        import sys

        from tilth.serving.strategies import advice, open_engine
        from tilth.serving.text_model import TextModel

        def say(line: str) -> None:
            sys.stderr.write(f"{name}: {line}\n")

        opened = open_engine(texts, say=say, **engine)
        text = TextModel(name, texts, opened, limits)
        service.serve_text(text)
        for line in (text.note, advice(opened)):
            if line:
                say(line)
    return service


def _parts(model: str, encoder: str) -> tuple[Path | None, Path | None]:
    """The folders of the language model and of the encoder; None where there is none."""
    from tilth.build.run import Run
    from tilth.errors import UsageError
    from tilth.store.manifest import is_complete

    texts: Path | None = None
    vectors = Path(encoder) if encoder else None
    folder = Path(model)
    if not model:
        pass
    elif (folder / "plan.resolved.toml").is_file():
        Run(folder)._part("model")  # It is finished, or says that it is not.
        if (folder / "model" / "config.json").is_file():
            texts = folder / "model"
        dense = folder / "index" / "dense"
        if vectors is None and is_complete(dense):
            vectors = dense / "encoder"
    elif any((folder / file).is_file() for file in ("modules.json", "encoder.json")):
        if vectors is not None:
            raise UsageError("is an encoder, and --encoder names another", where=model)
        vectors = folder
    elif (folder / "config.json").is_file():
        texts = folder
    else:
        from tilth.serving.opening import refuse_other

        refuse_other(model)
    return texts, vectors


def _listen(host: str, port: int) -> socket.socket:
    """A socket that is bound. Raises UsageError for an address that cannot be had."""
    import socket

    from tilth.errors import UsageError

    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        family, kind, protocol, _, address = found
        # asyncio asks for TCP by its number before it sends small answers at once; without that
        # each answer on an open connection waits 40 ms.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # What is accepted inherits it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK * 1000)
        listener.bind(address)
    except OSError as error:
        raise UsageError(f"{host}:{port} cannot be had: {error.strerror}",
                         hint="--port 0 takes any free one") from None  # fmt: skip
    return listener


def _public(url: str) -> list[str]:
    """The name in the address that mails lead to: a proxy passes it on as Host. Raises UsageError
    for what is no address."""
    from urllib.parse import urlsplit

    from tilth.papers.digest.mailing import web_root

    return [urlsplit(web_root(url)).hostname or ""] if url else []


def _key(path: str) -> str:
    import os

    from tilth.errors import UsageError

    if not path:
        key = os.environ.get(KEY, "").strip()
        if not key:
            return ""
    else:
        try:
            key = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the key cannot be read: {error}", where=path) from None
    if not key or not key.isascii():
        raise UsageError("holds no key of ASCII letters", where=path or f"${KEY}")
    if len(key) < SHORTEST:
        raise UsageError(f"the key has less than {SHORTEST} letters", where=path or f"${KEY}",
                         hint="python -c 'import secrets; print(secrets.token_hex())'")  # fmt: skip
    return key


def _settings(given: Any) -> dict[str, Any]:
    from tilth.errors import UsageError, nearest

    found = {}
    for setting in given:
        name, _, value = setting.partition("=")
        if name not in SETTINGS:
            raise UsageError(f"no setting {name!r}", where="--set", hint=nearest(name, SETTINGS))
        if name in found:
            raise UsageError(f"{name} is set twice", where="--set")
        try:
            found[name] = SETTINGS[name](value)
        except ValueError:
            raise UsageError(f"{value!r} is no whole number", where=f"--set {name}") from None
    return found


def _flush() -> None:
    import sys

    sys.stdout.flush()


command = serve
