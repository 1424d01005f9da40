"""One attempt at a request: what the client raises, sorted by what can be done about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

from tilth.errors import UsageError
from tilth.types import Answer

Outcome = Literal["failed", "timed out"]
# The server may do better next time: conflict, too early, too many requests, its own faults.
AGAIN = (408, 409, 425, 429)


class Spoilt(Exception):
    """An attempt that may go better another time."""

    def __init__(self, outcome: Outcome, reason: str, wait: str = "") -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.wait = outcome, reason, wait


async def attempt(once: Callable[[], Any], seconds: float, where: str) -> Answer:
    """What `once` gives within the time. Raises Spoilt, and UsageError for the user's mistakes."""
    import openai

    try:
        async with asyncio.timeout(seconds):
            return await once()
    except (TimeoutError, openai.APITimeoutError):
        raise Spoilt("timed out", f"no answer within {seconds:g} seconds") from None
    except openai.APIStatusError as error:
        code = error.status_code
        reason = f"status {code}: {_told(error)}"
        if code in (401, 403):
            raise UsageError(f"the server refuses the key: {reason}", where=where) from None
        if code == 404:
            raise UsageError(f"no such address or model: {reason}", where=where) from None
        if code in AGAIN or code >= 500:
            wait = error.response.headers.get("retry-after", "")
            raise Spoilt("failed", reason, wait) from None
        if "content_filter" in str(error.code or "") or "content_policy" in str(error.code or ""):
            return Answer("refused", reason=reason)
        return Answer("failed", reason=reason)
    except openai.APIResponseValidationError as error:
        return Answer("malformed", reason=f"not an answer of the API: {error}"[:300])
    except (json.JSONDecodeError, UnicodeDecodeError):
        return Answer("malformed", reason="not JSON")
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        raise Spoilt("failed", f"no connection: {type(cause).__name__}: {cause}"[:300]) from None


def retry_after(spoilt: Spoilt) -> float:
    """The seconds that the server asked for; 0 where it named none, or a date."""
    try:
        return max(0.0, float(spoilt.wait))
    except ValueError:
        return 0.0


def _told(error: Any) -> str:
    """What the server said, in one line that is not too long."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(message or error.message).split())[:200]
