"""How often something that costs may be asked for: by one visitor, and by all together.

    ASKS = Limiter(each=(20, 60.0), everyone=(60, 60.0))
    ASKS.check(visitor_of(request))          # raises Refused, 429, with the seconds to wait

A bucket of tokens for each visitor and one for all (Turner 1986, "New directions in
communications"): `count` may come at once, and so many come back in `seconds`. A visitor who has no
token left takes none from the others. A visitor is an address, an IPv6 one by its /64; behind a
proxy all are one.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request

from tilth.serving.refusal import Refused

# Visitors who are remembered; beyond these, whoever came first is forgotten.
VISITORS = 4096


class Limiter:
    """`each`, `everyone`: (count, seconds). `clock`: seconds that only grow."""

    def __init__(
        self,
        *,
        each: tuple[int, float],
        everyone: tuple[int, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each, self._everyone, self._clock = each, everyone, clock
        self._lock = threading.Lock()
        # What is left, and when it was: of all, and of each visitor.
        self._all = (float(everyone[0]), clock())
        self._visitors: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, visitor: str) -> float:
        """Seconds until this visitor may ask; 0.0 where it is now, and then it is counted."""
        with self._lock:
            now = self._clock()
            own = _filled(self._visitors.get(visitor), self._each, now)
            all_ = _filled(self._all, self._everyone, now)
            waits = max(_until(own, self._each), _until(all_, self._everyone))
            if waits > 0:
                return waits
            self._all = (all_ - 1, now)
            self._visitors[visitor] = (own - 1, now)
            self._visitors.move_to_end(visitor)
            if len(self._visitors) > VISITORS:
                self._visitors.popitem(last=False)
            return 0.0

    def check(self, visitor: str, what: str = "requests") -> None:
        """Count this one. Raises Refused, 429, with `retry-after` in whole seconds."""
        waits = math.ceil(self.take(visitor))
        if waits:
            again = f"{waits} second{'s' if waits > 1 else ''}"
            raise Refused(429, f"too many {what} at a time; try again in {again}",
                          code="too_many", headers={"retry-after": str(waits)})  # fmt: skip


def _filled(left: tuple[float, float] | None, limit: tuple[int, float], now: float) -> float:
    if left is None:
        return float(limit[0])
    return min(limit[0], left[0] + (now - left[1]) * limit[0] / limit[1])


def _until(left: float, limit: tuple[int, float]) -> float:
    return max(0.0, (1 - left) * limit[1] / limit[0])


def visitor_of(request: Request) -> str:
    """Who asks: an address; of an IPv6 one the part that one subscriber has."""
    host = request.client.host if request.client else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return host
