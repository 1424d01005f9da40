"""The language model that a user names in one word: an address, a folder, or a recording."""

from __future__ import annotations

from pathlib import Path

from tilth.errors import UsageError
from tilth.serving.answering import Answering


def open_llm(given: str, *, model: str = "", key: str = "", seconds: float = 120.0) -> Answering:
    """A generator for `given`, for somebody who waits for its answer.

    An address (`http://127.0.0.1:8000/v1`) is a server that speaks OpenAI's API: it needs `model`,
    its name there, and `key` may name the environment variable that holds its key. A folder is a
    model, or a run, on this machine. A file is a recording (`replay.Record`), where `model` says
    whose answers, if it holds several models'. `seconds`: for a server's answer, which is asked for
    twice at most. Raises UsageError where it is none of them, and for a name or key that nothing
    would use.
    """
    if given.startswith(("http://", "https://")):
        from tilth.serving.endpoint import Endpoint

        if not model:
            raise UsageError("an address needs the name of its model", where=given,
                             hint="--llm-model NAME")  # fmt: skip
        return Endpoint(given, model, key=key, retries=1, seconds=seconds / 2)
    if key:
        raise UsageError("a key belongs to an address, not to a path", where=given)
    path = Path(given)
    if path.is_file():
        from tilth.serving.replay import Replay

        return Replay(path, model)
    if not path.is_dir():
        raise UsageError("is neither an address nor a model nor a recording", where=given,
                         hint="http://127.0.0.1:8000/v1, a model's folder, FILE.jsonl")  # fmt: skip
    if model:
        raise UsageError("a folder holds one model and needs no name", where=given)
    from tilth.serving.local import Local

    return Local(path, options={"sequences": 1})
