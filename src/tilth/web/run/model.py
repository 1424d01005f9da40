"""The model of the run: what it is, how it learned, and a field to try it.

`POST /model` gives the page with what the model wrote. The script asks `/model/stream` instead and
draws lines of JSON as they come: `text` is letters, `done` why it ended, `wrong` what went wrong.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tilth.errors import UsageError
from tilth.report.wording import count, figure, short
from tilth.serving.openai_forms import Asked
from tilth.serving.refusal import Refused
from tilth.store.write import read_json
from tilth.web.limiter import visitor_of
from tilth.web.page import form
from tilth.web.run.asked import number
from tilth.web.run.lines import Lines, line
from tilth.web.run.pages import RunPages
from tilth.web.run.plots import curves
from tilth.web.run.shown import shown

PROMPT = 4000
TOKENS, USUAL = (16, 32, 64, 128, 256), 64
TEMPERATURE = 0.8
TOP_K = 50
# Points that a smooth curve of the loss takes together.
MEAN = 9
ENDS = {"stop": "The model ended here.", "length": "Cut here: it had the tokens it was given.",
        "cancelled": "The server is being stopped.", "failed": "It failed."}  # fmt: skip


def model(pages: RunPages, request: Request) -> Response:
    """The page, with nothing written yet."""
    usual = min(USUAL, choices(pages)[-1])
    return page(pages, {"prompt": "", "tokens": usual, "temperature": TEMPERATURE}, None)


async def generate(pages: RunPages, request: Request) -> Response:
    """The page with what the model wrote, for those without script."""
    given = asked(pages, request)
    answers = await begin(pages, request, given)
    text, ended = "", ""
    async with answers:
        async for _, event in answers:
            text += event.text
            ended = event.reason
    return page(pages, given, {"text": shown(text), "ended": ENDS.get(ended, "")})


async def stream(pages: RunPages, request: Request) -> Response:
    """What the model writes, as it writes it."""
    given = asked(pages, request)
    answers = await begin(pages, request, given)
    return Lines(_lines(answers))


async def _lines(answers: Any) -> AsyncGenerator[str, None]:
    async with answers:
        async for _, event in answers:
            if event.text:
                yield line(kind="text", text=shown(event.text))
            if event.reason:
                kind = "wrong" if event.reason in ("failed", "cancelled") else "done"
                yield line(kind=kind, text=ENDS[event.reason])


async def begin(pages: RunPages, request: Request, given: dict[str, Any]) -> Any:
    """Queue it: the events of one answer. Raises Refused where no model is served or too much is
    asked for, LimitError for a prompt that does not fit."""
    from tilth.serving.sampler import Sampling

    if pages.text is None:
        raise Refused(404, "no language model is served", code="model_not_found")
    pages.generates.check(visitor_of(request), "texts")
    sampling = Sampling(temperature=given["temperature"], top_k=TOP_K, seed=secrets.randbits(62))
    wanted = Asked("", [given["prompt"]], tokens=given["tokens"], sampling=sampling, seeded=True)
    return await pages.text.begin(wanted)


def choices(pages: RunPages) -> list[int]:
    """How many tokens may be asked for: at most half of the model's context."""
    most = pages.text.context // 2 if pages.text is not None else TOKENS[-1]
    return [one for one in TOKENS if one <= max(most, TOKENS[0])]


def asked(pages: RunPages, request: Request) -> dict[str, Any]:
    """The fields of the form. Raises UsageError for what is out of range."""
    fields = form(request)
    prompt = fields.get("prompt", "").replace("\r\n", "\n")
    if len(prompt) > PROMPT:
        raise UsageError(f"the beginning has {len(prompt):,} letters; at most {PROMPT:,} are taken")
    known = [str(one) for one in choices(pages)]
    tokens = fields.get("tokens", known[0])
    if tokens not in known:
        raise UsageError(f"tokens are {', '.join(known)}, not {tokens[:40]!r}")
    temperature = number(fields.get("temperature", str(TEMPERATURE)), "temperature")
    if not 0 <= temperature <= 2:
        raise UsageError(f"temperature is from 0 to 2, not {temperature:g}")
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"the beginning is no valid text: {error.reason}") from None
    return {"prompt": prompt, "tokens": int(tokens), "temperature": temperature}


def page(pages: RunPages, given: dict[str, Any], written: dict[str, str] | None) -> Response:
    """The whole page."""
    measured = pages.measured
    training, bits = measured.get("training", {}), measured.get("bits", {})
    loss = [(entry["tokens"], entry["loss"]) for entry in training.get("loss", ())]
    smooth = [(loss[at][0], sum(p[1] for p in near) / len(near)) for at in range(len(loss))
              if (near := loss[max(0, at - MEAN // 2) : at + MEAN // 2 + 1])]  # fmt: skip
    points = measured.get("curve", ())
    series = [
        ("model", [(entry["tokens"], entry["model"]) for entry in points]),
        ("5-gram on the same tokens" if bits.get("order") == 5 else "n-gram on the same tokens",
         [(entry["tokens"], entry["ngram"]) for entry in points if "ngram" in entry]),
    ]  # fmt: skip
    questions = pages.report["first_screen"]["questions"]
    return pages.render(
        "model.html", "model", served=pages.text is not None, given=given, written=written,
        choices=choices(pages), most=PROMPT, facts=facts(pages, training, bits),
        loss=curves([("single steps", loss), (f"mean of {MEAN} points", smooth)], "training loss",
                    logarithmic=False),
        curve=curves(series, "bits per byte", logarithmic=True), points=points,
        worth=next((one for one in questions if one["link"] == "training"), None),
        api=pages.text.name if pages.text is not None else "",
    )  # fmt: skip


def facts(
    pages: RunPages, training: dict[str, Any], bits: dict[str, Any]
) -> list[tuple[str, str, str]]:
    """(name, value, note) of what is known of the model; what is not known is left out."""
    path = pages.run.folder / "model" / "config.json"
    config = read_json(path) if path.is_file() else {}
    parameters = training.get("parameters")
    layers, wide = config.get("num_hidden_layers"), config.get("hidden_size")
    shape = f"{layers} layers, {wide} wide" if layers and wide else ""
    context = config.get("max_position_embeddings")
    seen = "bits per byte on held-out text; fewer is better"
    order = bits.get("order", 5)
    known = [
        ("Parameters", parameters and short(parameters), shape),
        ("Architecture", str(config.get("model_type", ""))[:40], "a Hugging Face folder"),
        ("Context", context and count(context, "token"), ""),
        ("Vocabulary", training.get("vocabulary") and count(training["vocabulary"], "token"),
         "byte-level, made of these documents"),
        ("Learned on", training.get("tokens") and f"{short(training['tokens'])} tokens",
         f"{training.get('epochs', 0):.2g} times the corpus" if training.get("epochs") else ""),
        ("Model", bits.get("model") and figure(round(bits["model"], 3)), seen),
        (f"{order}-gram, same tokens", bits.get("ngram_seen") and figure(round(
            bits["ngram_seen"], 3)), seen),
        (f"{order}-gram, all tokens", bits.get("ngram_all") and figure(round(
            bits["ngram_all"], 3)), seen),
    ]  # fmt: skip
    return [(name, str(value), note) for name, value, note in known if value]
