"""Turns words into a command, and every error into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 an extra is missing, 130 interrupted. A command's
module is imported only when the command is called, so `tilth --help` stays fast.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from tilth.cli import COMMANDS
from tilth.errors import TilthError, UsageError, nearest


class _LazyGroup(TyperGroup):
    """A group whose commands are names until one is called."""

    def list_commands(self, context: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: Any, name: str) -> Any:
        if name not in COMMANDS:
            return None
        if getattr(context, "_tilth_listing", False):
            return _placeholder(name)
        return _load(name)

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
            raise UsageError(
                f"there is no command {arguments[0]!r}", hint=nearest(arguments[0], COMMANDS)
            )
        return super().resolve_command(context, arguments)

    def format_help(self, context: Any, formatter: Any) -> None:
        context._tilth_listing = True
        super().format_help(context, formatter)


def _placeholder(name: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(name, help=COMMANDS[name][1])(lambda: None)
    return typer.main.get_command(app)


def _load(name: str) -> Any:
    """The command `command` of its module: a function, or a Typer application with its own."""
    module = importlib.import_module(COMMANDS[name][0])
    if isinstance(module.command, typer.Typer):
        command = typer.main.get_command(module.command)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(module.command)
        command = typer.main.get_command(app)
    command.name = name
    return command


def application() -> Any:
    """The root command."""
    app = typer.Typer(
        cls=_LazyGroup,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="From a pile of documents to a language model, a search index and a service to trust.",
        epilog="Begin with: tilth build MY-DOCUMENTS -o MY-RUN",
    )

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
        if version:
            from tilth import __version__

            print(__version__)
            raise typer.Exit()

    command = typer.main.get_command(app)
    command.name = "tilth"
    return command


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        command = application()
        with command.make_context("tilth", words) as context:
            command.invoke(context)
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command continues where this one stopped\n")
        return 130
    except TilthError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code, words)
    except Exception as error:
        return _other(error, words, debug)


def _other(error: Exception, words: list[str], debug: bool) -> int:
    code = getattr(error, "exit_code", None)
    if type(error).__name__ == "Exit":
        return int(code or 0)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(error.format_message() + "\n")  # type: ignore[attr-defined]
        return 2
    if type(error).__name__ == "Abort":
        return 130
    if code is not None and hasattr(error, "format_message"):
        return _fail(error.format_message(), int(code), words)
    if debug:
        raise error
    if isinstance(error, BrokenPipeError):
        return 0
    if isinstance(error, OSError):
        return _fail(str(error), 1, words)
    name = type(error).__name__
    return _fail(f"unexpected {name}: {error} (--debug shows where)", 1, words)


def _fail(line: str, code: int, words: list[str]) -> int:
    from tilth.cli.output import printable

    line = printable(" ".join(line.split()))
    if "--json" in words:
        sys.stdout.write(json.dumps({"error": line, "exit_code": code}) + "\n")
    sys.stderr.write(f"tilth: {line}\n")
    return code
