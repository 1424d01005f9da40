"""An answer that is an error: its status, and the body in OpenAI's form.

What a server raises wherever it answers no: for a request that is wrong, too many at a time, a key
that it does not know. Mistakes that come as TilthErrors are turned into it by `refusal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilth.errors import DataError, LimitError, TilthError, UsageError


class Refused(Exception):
    """An answer that is an error: its status, and what OpenAI's form says of it."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def form(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def refusal(error: TilthError, param: str | None = None) -> Refused:
    """A mistake of the sender as an answer; `param`: the field that it is in."""
    if isinstance(error, LimitError):
        return Refused(400, str(error), code="context_length_exceeded", param=param)
    if isinstance(error, (UsageError, DataError)):
        return Refused(400, str(error), param=param)
    return Refused(500, str(error))
