"""What a server takes at most: of one request, and of all at a time.

A request that asks for more is refused (`openai_forms`, `guard`, `text_model`), and so is one that
comes while the queue is full (`engine_thread`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one request, `choices`: answers, over all its prompts; `stops` texts of `stop_letters`;
    `logprobs` of a token, `scored` over all tokens; `texts` to embed; `body` bytes; `deadline`,
    `body_seconds` in seconds. Of all, `queue`: answers that wait or run at a time; `requests` at a
    time."""

    choices: int = 64
    stops: int = 16
    stop_letters: int = 200
    logprobs: int = 20
    scored: int = 2**18
    biases: int = 1024
    messages: int = 1024
    texts: int = 2048
    body: int = 4 * 2**20
    deadline: float = 600.0
    body_seconds: float = 30.0
    queue: int = 128
    requests: int = 512
