"""The command line. One file a command; `COMMANDS` is all that `tilth --help` needs to read."""

from __future__ import annotations

from typing import NoReturn

COMMANDS = {
    "build": (
        "tilth.cli.build",
        "Build corpus, tokenizer, model, index and report from documents.",
    ),
    "search": ("tilth.cli.search", "Search the documents of a run."),
    "ask": (
        "tilth.cli.ask",
        "Ask a run a question: it quotes its documents, or a model answers from them.",
    ),
    "generate": ("tilth.cli.generate", "Continue a prompt with the model of a run."),
    "serve": (
        "tilth.cli.serve",
        "Pages of papers and of a run, and a model in the form of OpenAI's API, on this machine.",
    ),
    "train": (
        "tilth.cli.train",
        "Train a language model on texts, from scratch or from a Hugging Face folder.",
    ),
    "tune": (
        "tilth.cli.tune",
        "Tune a model on labelled data or conversations: the whole model, or a LoRA.",
    ),
    "merge": ("tilth.cli.merge", "Merge models of one parent, or an adapter into its base."),
    "compress": (
        "tilth.cli.compress",
        "A smaller model from a larger one: leave out layers, zero weights, distil.",
    ),
    "edit": (
        "tilth.cli.edit",
        "A model from a model: wider, deeper, another vocabulary, a longer context, zeros.",
    ),
    "corpus": (
        "tilth.cli.corpus",
        "Make a corpus step by step; show, count and export documents, and say why.",
    ),
    "decontaminate": (
        "tilth.cli.decontaminate",
        "Find test items that training data hold in the same or in other words.",
    ),
    "run": ("tilth.cli.run", "Measure a paper's claim beside its baseline."),
    "show": ("tilth.cli.show", "Show a paper's card, claims and last result."),
    "systems": ("tilth.cli.systems", "List the papers that can be run."),
    "board": ("tilth.cli.board", "Show all results with verdicts and intervals."),
    "evaluate": (
        "tilth.cli.evaluate",
        "How well a model predicts texts or does its task; was a text in its training data.",
    ),
    "papers": (
        "tilth.cli.papers",
        "Papers: import, search, what is new and talked about, and by e-mail.",
    ),
    "data": ("tilth.cli.data", "List named data sets with licence and source."),
    "zoo": ("tilth.cli.zoo", "Micro models that two-stage methods start from: list, build."),
    "doctor": ("tilth.cli.doctor", "Check this installation and say what is missing."),
}


def collect_seldom() -> None:
    """Look for garbage seldom in this process: every 20,000 new objects, not every 700.

    What the large libraries make when they are imported stays, and looking through it again and
    again took a fifth of a short command's time. Most garbage goes without this search anyway.
    """
    import gc

    gc.set_threshold(20_000, 50, 50)


def leave(code: int) -> NoReturn:
    """End this process with an exit code, without freeing its objects one by one.

    mypy ends so too: what the large libraries hold takes longer to free than many commands to run.
    Exit functions run and output is flushed; where a thread is still at work the end is as usual.
    """
    import atexit
    import contextlib
    import os
    import sys
    import threading

    others = [thread for thread in threading.enumerate() if not thread.daemon]
    if len(others) > 1:
        raise SystemExit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # Closed, or not there.
            stream.flush()
    os._exit(code)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point `tilth`."""
    from tilth.cli.main import run

    collect_seldom()
    leave(run(arguments))
