"""What is talked about: properties of the formula, and pages of a day."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.papers import feed, trending
from tilth.papers.library import Library
from tilth.papers.measured import NOT_BUILT, Measured
from tilth.papers.paper import id_of, made_paper

NOW = datetime(2026, 6, 1, tzinfo=UTC)
moments = st.datetimes(datetime(2015, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
events = st.tuples(st.sampled_from(sorted(trending.WEIGHTS)), moments)


def plain(found, now):
    """The formula of the docstring, word by word."""
    half = trending.HALF_LIFE
    ages = [(kind, (now - at).total_seconds() / 86_400) for kind, at in found]
    return sum(trending.WEIGHTS[kind] * 2 ** (-age / half) for kind, age in ages)


@settings(max_examples=50)
@given(st.lists(events, max_size=8), st.integers(0, 60))
def test_the_score_is_the_formula(found, weeks):
    now = max((at for _, at in found), default=NOW) + timedelta(weeks=weeks)
    made = trending.score(trending.heat(found), now)
    assert math.isclose(made, plain(found, now), rel_tol=1e-9, abs_tol=1e-300)


@settings(max_examples=50)
@given(
    st.lists(events, min_size=1, max_size=8),
    st.lists(events, min_size=1, max_size=8),
    moments,
    moments,
)
def test_waiting_changes_no_order(first, second, now, later):
    heats = trending.heat(first), trending.heat(second)
    scores = [[trending.score(heat, moment) for heat in heats] for moment in (now, later)]
    # Beyond what a float tells apart there is no order to keep.
    if abs(heats[0] - heats[1]) > 1e-9 and all(0 < s < 1e300 for pair in scores for s in pair):
        assert all((one > other) == (heats[0] > heats[1]) for one, other in scores)


@settings(max_examples=50)
@given(st.lists(events, max_size=8), events)
def test_an_event_more_never_cools(found, more):
    assert trending.heat([*found, more]) >= trending.heat(found)


@settings(max_examples=50)
@given(st.lists(events, min_size=1, max_size=8), st.lists(events, min_size=1, max_size=8))
def test_heats_join(first, second):
    joined = trending.joined(trending.heat(first), trending.heat(second))
    assert math.isclose(joined, trending.heat([*first, *second]), rel_tol=1e-9, abs_tol=1e-9)
    assert trending.joined(None, joined) == joined == trending.joined(joined, None)


@settings(max_examples=50)
@given(st.lists(events, max_size=8).flatmap(st.permutations))
def test_the_order_of_events_counts_for_nothing(found):
    assert trending.heat(found) == trending.heat(sorted(found))


@settings(max_examples=50)
@given(events)
def test_an_event_is_half_after_a_half_life(event):
    heat, at = trending.heat([event]), event[1]
    later = at + timedelta(days=trending.HALF_LIFE)
    assert math.isclose(trending.score(heat, at), trending.WEIGHTS[event[0]], rel_tol=1e-9)
    assert math.isclose(2 * trending.score(heat, later), trending.score(heat, at), rel_tol=1e-9)


@pytest.fixture
def made(tmp_path):
    found = Library(tmp_path / "papers.sqlite")
    found.bring([made_paper("Brought", id="brought", family="corpus"),
                 made_paper("Run", id="run", family="serving")], "1", NOW)  # fmt: skip
    for days, title in ((9, "Old"), (1, "New"), (1, "Liked")):
        found.add([made_paper(title, family="corpus")], NOW - timedelta(days=days))
    found.vote(id_of("Liked"), "somebody", NOW)
    return found


def measured(date=""):
    return {"run": Measured(slug="run", family="serving", claim="", part="", command="",
                            verdict="holds", date=date)}  # fmt: skip


def test_the_library_sorts_by_the_formula(made):
    found = feed.talked_about(made, measured(NOW.isoformat()), now=NOW)
    assert [paper.title for paper, _ in found] == ["Run", "Liked", "New", "Old"]
    half = trending.HALF_LIFE
    expected = [3, 2 + 2 ** (-1 / half), 2 ** (-1 / half), 2 ** (-9 / half)]
    assert [score for _, score in found] == pytest.approx(expected, rel=1e-9)
    order = [paper.title for paper in made.papers(order="trending", measured=measured())]
    assert order == ["Liked", "New", "Old", "Brought", "Run"]
    assert [p.title for p, _ in feed.talked_about(made, {}, now=NOW, family="serving")] == []


def test_a_vote_taken_back_leaves_no_heat(made):
    before = made.heats([id_of("New")])
    made.vote(id_of("New"), "somebody", NOW)
    assert made.heats([id_of("New")]) != before
    made.withdraw(id_of("New"), "somebody")
    assert made.heats([id_of("New")]) == before
    assert made.heats(["brought"]) == {"brought": None}


def test_a_day_has_its_papers_and_its_neighbours(made):
    last = feed.day_page(made)
    assert (last.day, last.total, last.previous, last.next) == ("2026-06-01", 2, "2026-05-31", None)
    before = feed.day_page(made, last.previous, limit=1)
    assert (before.total, len(before.papers)) == (2, 1)
    assert (before.previous, before.next) == ("2026-05-23", "2026-06-01")
    between = feed.day_page(made, "2026-05-30")
    assert (between.papers, between.previous, between.next) == ([], "2026-05-23", "2026-05-31")
    serving = feed.day_page(made, family="serving")
    assert (serving.day, serving.total, serving.previous) == ("2026-06-01", 1, None)
    with pytest.raises(UsageError, match="is no day"):
        feed.day_page(made, "yesterday")


def test_verdicts_count_all_papers(made):
    counts = feed.verdicts(made, measured())
    assert counts["holds"] == 1 and counts[NOT_BUILT] == 4 and sum(counts.values()) == made.count()
