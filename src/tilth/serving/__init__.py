"""Generators: prompts in, typed answers out. A driver is one line of `GENERATORS`.

Each keeps `types.Generator`: an answer is ok, malformed, refused, failed or timed out, never an
empty text in place of a failure. `requests.Cached` remembers answers, `replay.Record` writes them
for `replay`, `judge.Judge` asks questions that are answered yes, no or unknown.
"""

from __future__ import annotations

from typing import Any

from tilth.lookup import construct
from tilth.types import Generator

GENERATORS = {
    "endpoint": "tilth.serving.endpoint:Endpoint",
    "local": "tilth.serving.local:Local",
    "replay": "tilth.serving.replay:Replay",
    "rules": "tilth.serving.rules:Rules",
}


def open_generator(name: str, **options: Any) -> Generator:
    """A generator by the name of its driver. Raises UsageError for an unknown name or option."""
    return construct("generator", GENERATORS, name, options)
