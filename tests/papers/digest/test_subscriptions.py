"""Double opt-in, ending, limits; and that no answer tells whether an address is known."""

import pytest
from mail_server import DAY, HOUR, links

from tilth.errors import LimitError, UsageError
from tilth.papers.digest import limits
from tilth.papers.digest.subscriptions import wanted
from tilth.papers.digest.tokens import sign

READER = "reader@example.org"


def states(digest):
    return [one.state for one in digest.listed()[0]]


def test_nothing_comes_before_the_link_of_the_mail_was_followed(
    digest, server, postbox, add, clock
):
    digest.subscribe(READER, "daily")
    assert states(digest) == ["pending"]
    assert digest.deliver(server, {}).sent == 1
    (asked,) = postbox.to(READER)
    add("A paper while nobody has confirmed")
    clock.now += DAY
    assert digest.collect({}) == 0 and digest.deliver(server, {}).sent == 0
    token = links(asked)["confirm"]
    assert digest.look("confirm", token)[1].state == "pending", "looking changes nothing"
    assert digest.confirm(token).state == "active"
    since = digest.listed()[0][0].since
    clock.now += HOUR
    assert digest.confirm(token).since == since, "the second time changes nothing"
    add("A paper since")
    clock.now += DAY
    assert digest.collect({}) == 1 and digest.deliver(server, {}).sent == 1
    text = postbox.to(READER)[1].get_body(("plain",)).get_content()
    assert "A paper since" in text and "nobody has confirmed" not in text


def test_a_link_of_one_purpose_or_of_an_ended_subscription_does_nothing(
    digest, server, postbox, clock
):
    digest.subscribe(READER, "daily")
    digest.deliver(server, {})
    found = links(postbox.to(READER)[0])
    assert set(found) == {"confirm", "unsubscribe"}
    assert digest.confirm(found["unsubscribe"]) is None
    assert not digest.unsubscribe(found["confirm"]) and states(digest) == ["pending"]
    assert digest.confirm(found["confirm"]) is not None
    assert digest.unsubscribe(found["unsubscribe"]) and digest.listed() == ([], [])
    # Replayed: nothing comes back, and who subscribes again is not ended by the old link.
    assert digest.confirm(found["confirm"]) is None
    assert digest.unsubscribe(found["unsubscribe"])
    clock.now += HOUR
    digest.subscribe(READER, "daily")
    assert digest.unsubscribe(found["unsubscribe"]) and digest.confirm(found["confirm"]) is None
    assert states(digest) == ["pending"]


def test_an_address_is_gone_from_the_file_when_its_subscription_ends(
    digest, library, subscribed, server, postbox
):
    subscribed(READER)
    with library.connection() as connection:
        rows = connection.execute("SELECT * FROM digest_request").fetchall()
        assert rows and READER not in repr(rows), "only digests are counted"
    digest.unsubscribe(links(postbox.to(READER)[0])["unsubscribe"])
    with library.connection() as connection:
        for table in ("digest_subscription", "digest_outbox"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


def test_what_nobody_confirms_is_forgotten(digest, server, clock):
    digest.subscribe(READER, "daily")
    clock.now += 5 * DAY
    digest.collect({})
    assert states(digest) == ["pending"], "its mail could not leave yet"
    assert digest.deliver(server, {}).sent == 1
    clock.now += 3 * DAY - 1
    digest.collect({})
    assert states(digest) == ["pending"]
    clock.now += 1
    digest.collect({})
    assert states(digest) == []


def test_a_link_ends_with_its_time(digest, server, postbox, clock):
    digest.subscribe(READER, "daily")
    digest.deliver(server, {})
    token = links(postbox.to(READER)[0])["confirm"]
    clock.now += 3 * DAY
    assert digest.confirm(token) is None and digest.look("confirm", token) == (False, None)


def test_another_rhythm_takes_the_place_of_the_old_one(digest, subscribed):
    subscribed(READER, "daily", family="corpus")
    subscribed(READER, "daily")
    subscribed("Reader@example.org", "weekly", family="corpus")
    found = [(one.every, one.family) for one in digest.listed()[0]]
    assert sorted(found) == [("daily", ""), ("weekly", "corpus")]


def test_a_mailbox_is_not_flooded_and_nobody_is_told(digest, server, postbox, subscribed, clock):
    subscribed(READER, "daily")
    clock.now += DAY
    answers = {digest.subscribe(READER, "daily", visitor="10.0.0.1")}  # Known already: no mail.
    answers.add(digest.subscribe("new@example.org", "daily", visitor="10.0.0.2"))
    answers.add(digest.subscribe("new@example.org", "daily", visitor="10.0.0.3"))  # Not again.
    for number in range(4):  # Other wishes, and other spellings of one mailbox.
        answers.add(digest.subscribe(f"new+{number}@example.org", "weekly", visitor=f"{number}"))
    assert answers == {None}
    digest.deliver(server, {})
    assert len(postbox.to(READER)) == 1
    sent = [message["To"] for message in postbox.messages() if message["To"].startswith("new")]
    assert sorted(sent) == ["new+0@example.org", "new@example.org"]
    clock.now += DAY + 1
    digest.subscribe("new@example.org", "daily", visitor="10.0.0.2")
    assert digest.deliver(server, {}).sent == 1, "a day later it is sent once more"


def test_a_visitor_and_all_together_are_limited(digest, clock, monkeypatch):
    for number in range(5):
        digest.subscribe(f"a{number}@example.org", "daily", visitor="10.0.0.1")
    with pytest.raises(LimitError, match="from here"):
        digest.subscribe("a9@example.org", "daily", visitor="10.0.0.1")
    digest.subscribe("a9@example.org", "daily", visitor="10.0.0.2")
    clock.now += HOUR
    digest.subscribe("a10@example.org", "daily", visitor="10.0.0.1")
    monkeypatch.setattr(limits, "ALL", ((3, HOUR),))
    digest.subscribe("b1@example.org", "daily", visitor="x")
    digest.subscribe("b2@example.org", "daily")
    with pytest.raises(LimitError, match="being asked"):
        digest.subscribe("b3@example.org", "daily", visitor="y")
    # A refusal does not depend on whether the address is known.
    with pytest.raises(LimitError, match="being asked"):
        digest.subscribe("b1@example.org", "daily", visitor="y")


def test_a_mailbox_has_so_many_subscriptions(digest, clock, monkeypatch):
    monkeypatch.setattr(limits, "SUBSCRIPTIONS", 2)
    for number in range(3):
        digest.subscribe(READER, "daily", query=f"word{number}")
    assert len(digest.listed()[0]) == 2


@pytest.mark.parametrize(
    "what",
    [("hourly", "", ""), ("daily", "", "no such family"), ("daily", "x" * 81, ""),
     ("daily", "see http://example.com", ""), ("daily", "www.example.com", ""),
     ("daily", "a@b", ""), ("daily", "<b>", ""), ("daily", "++", ""), ("daily", "a\u202eb", ""),
     ("daily", "a。com", "")],
)  # fmt: skip
def test_a_query_is_words_and_can_carry_no_link_into_a_strangers_mailbox(what):
    with pytest.raises(UsageError):
        wanted(*what, ["corpus"])


def test_queries_that_are_taken():
    assert wanted("daily", " near  duplicates\n", "corpus", ["corpus"]) == (
        "daily", "near duplicates", "corpus",
    )  # fmt: skip
    for query in ("Qwen2.5", "C++", "l'arbre", "हिन्दी", "日本語 モデル", "well-read"):
        assert wanted("weekly", query, "", [])[1] == query


def test_a_token_of_a_name_that_is_not_there_does_nothing(digest, library):
    from tilth.papers.digest.tokens import secret

    token = sign(secret(library.path), "confirm", "0" * 32, int(digest._clock()))
    assert digest.look("confirm", token) == (True, None) and digest.confirm(token) is None
