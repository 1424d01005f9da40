"""Limits: what may come at once, what comes back, and that one visitor does not stop the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from tilth.serving.refusal import Refused
from tilth.web import limiter
from tilth.web.limiter import Limiter, visitor_of


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_visitor_waits_while_others_go_on():
    clock = Clock()
    limit = Limiter(each=(2, 10.0), everyone=(5, 10.0), clock=clock)
    assert [limit.take("a") for _ in range(3)] == [0.0, 0.0, 5.0]
    # Being refused costs nothing, the others nothing either.
    assert [limit.take("a"), limit.take("b"), limit.take("b"), limit.take("c")] == [5.0, 0, 0, 0]
    assert limit.take("d") == 2.0
    clock.now += 2.0
    assert limit.take("d") == 0.0
    clock.now += 100.0
    assert [limit.take("a") for _ in range(3)] == [0.0, 0.0, 5.0]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=60),
    st.integers(1, 4), st.integers(1, 8),
)  # fmt: skip
def test_no_more_than_the_limits_and_who_waits_is_served(asks, own, everyone):
    clock = Clock()
    limit = Limiter(each=(own, 7.0), everyone=(everyone, 7.0), clock=clock)
    taken = {"a": 0, "b": 0, "c": 0}
    for visitor, seconds in asks:
        clock.now += seconds
        waits = limit.take(visitor)
        taken[visitor] += waits == 0
        passed = clock.now - Clock.now
        assert taken[visitor] <= own * (1 + passed / 7.0) + 1e-6
        assert sum(taken.values()) <= everyone * (1 + passed / 7.0) + 1e-6
        if waits:
            clock.now += waits + 1e-6
            assert limit.take(visitor) == 0.0
            taken[visitor] += 1


def test_a_refusal_says_how_long(monkeypatch):
    limit = Limiter(each=(1, 90.0), everyone=(10, 1.0), clock=Clock())
    limit.check("a")
    with pytest.raises(Refused, match="too many questions at a time; try again in 90 s") as found:
        limit.check("a", "questions")
    assert found.value.status == 429 and found.value.headers == {"retry-after": "90"}
    monkeypatch.setattr(limiter, "VISITORS", 3)
    for visitor in "bcdef":
        limit.take(visitor)
    assert len(limit._visitors) == 3


@pytest.mark.parametrize(
    "host, name",
    [("127.0.0.1", "127.0.0.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("odd", "odd")],
)
def test_visitors_are_addresses(host, name):
    assert visitor_of(Request({"type": "http", "client": (host, 1)})) == name
    assert visitor_of(Request({"type": "http", "client": None})) == ""
