"""The mails: both parts, the headers of RFC 8058, and what a hostile paper cannot do in them."""

import email
import email.policy
import html.parser

from hypothesis import given, settings
from hypothesis import strategies as st
from mail_server import DAY, links

from tilth.papers.digest import choose, messages
from tilth.papers.digest.messages import Envelope
from tilth.papers.digest.subscriptions import Subscription
from tilth.papers.measured import Measured, Primary
from tilth.papers.paper import Paper, made_paper

READER = "reader@example.org"
ROOT = "https://papers.example.org"
HOSTILE = '<script>alert(1)</script> "><img src=x onerror=alert(1)> {{ 7*7 }} &amp; ü'
MEASURED = Measured(
    slug="some-paper", family="corpus", claim="c", part="p", command="tilth run some-paper",
    verdict="holds", date="2026-11-24",
    primary=Primary(metric="recall@10", baseline="bm25", method="fused", difference=0.0421,
                    ci_low=0.01, ci_high=0.07, margin=0.005, paper=None),
)  # fmt: skip


class Seen(html.parser.HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        assert not [name for name, _ in attributes if name.startswith("on") or name == "src"]
        self.addresses += [value for name, value in attributes if name == "href"]

    def handle_data(self, data):
        self.text += data


def parts(message):
    found = {one.get_content_type(): one.get_content() for one in message.iter_parts()}
    assert list(found) == ["text/plain", "text/html"]
    return found["text/plain"], Seen(found["text/html"])


def test_a_digest_shows_what_is_new_and_what_was_measured(
    digest, server, postbox, subscribed, add, clock
):
    subscribed(READER, "weekly")
    clock.now += 60
    add("A well known old paper")
    clock.now += 8 * DAY
    first = add(HOSTILE, summary=HOSTILE, authors=["A. Author", "B. <b>Author</b>"], year=2026,
                address="https://example.org/paper?a=1&b=2")  # fmt: skip
    digest.collect({})
    clock.now += 8 * DAY
    measured = {first: MEASURED}
    assert digest.collect(measured) == 0, "while one waits there is no second one"
    digest.deliver(server, measured)
    assert digest.collect(measured) == 1 and digest.deliver(server, measured).sent == 1
    old, message = postbox.to(READER)[1:]
    assert "A well known old paper" in old.get_body(("plain",)).get_content()
    assert message["Subject"] == "1 new paper, 2026-W50"
    assert message["From"] == "Papers <papers@example.org>"
    assert message["Message-ID"].endswith("@papers.example.org>")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    unsubscribe = f"{ROOT}/mail/unsubscribe/{links(message)['unsubscribe']}"
    assert message["List-Unsubscribe"] == f"<{unsubscribe}>"
    raw = postbox.kept[-1].content
    assert b"List-Unsubscribe: <" + unsubscribe.encode() + b">\r\n" in raw, "on one line, as it is"
    assert raw.isascii() and max(map(len, raw.split(b"\r\n"))) <= 998
    text, page = parts(message)
    said = "holds. recall@10, fused against bm25: difference 0.0421 (0.01 to 0.07)"
    assert said in " ".join(text.split()) and "paper's figure not quoted" in page.text
    assert HOSTILE in " ".join(text.split()) and HOSTILE in page.text, "as text, not as tags"
    assert not page.tags & {"script", "img", "b"}
    assert page.addresses == [f"{ROOT}/papers/{first}", "https://example.org/paper?a=1&b=2",
                              unsubscribe]  # fmt: skip
    assert READER not in text + page.text, "no address in what may be passed on"


def test_a_mail_has_room_for_so_many(digest, server, postbox, subscribed, add, clock, library):
    subscribed(READER)
    papers = [made_paper(f"Paper number {number}") for number in range(choose.MOST + 12)]
    clock.now += 60
    library.add(papers, at=clock.moment())
    library.vote("spgc", "somebody")
    clock.now += DAY
    assert digest.collect({}) == 1 and digest.deliver(server, {}).sent == 1
    text, page = parts(postbox.to(READER)[1])
    assert f"{choose.MOST + 12} new papers" in text and "And 12 more" in text
    assert f"{ROOT}/papers" in page.addresses and "Trending" in text
    assert f"{ROOT}/papers/spgc" in page.addresses


def test_only_what_matches_the_subscription(digest, server, postbox, subscribed, add, clock):
    subscribed(READER, query="near duplicates")
    subscribed("other@example.org", family="corpus")
    subscribed("third@example.org", family="corpus", query="near duplicates")
    clock.now += 60
    add("Near exact duplicates of things", family="data")
    add("Something else", family="corpus")
    clock.now += DAY
    assert digest.collect({}) == 2 and digest.deliver(server, {}).sent == 2
    assert "Near exact" in postbox.to(READER)[1].get_body(("plain",)).get_content()
    other = postbox.to("other@example.org")[1].get_body(("plain",)).get_content()
    assert "Something else" in other and "Near exact" not in other
    assert len(postbox.to("third@example.org")) == 1, "nothing new, no mail"


def test_a_preview_is_what_would_be_sent_and_changes_nothing(
    digest, server, postbox, subscribed, add, clock
):
    found = subscribed(READER)
    assert digest.preview(found, {}) is None
    clock.now += 60
    add("A new paper")
    clock.now += DAY
    shown = digest.preview(found, {})
    assert "A new paper" in shown.get_body(("plain",)).get_content()
    assert "/mail/unsubscribe/TOKEN" in shown["List-Unsubscribe"]
    assert digest.collect({}) == 1 and digest.deliver(server, {}).sent == 1
    sent = postbox.to(READER)[1]
    assert sent["Subject"] == shown["Subject"]
    assert digest.preview(digest.listed()[0][0], {}) is None


def test_an_import_at_midnight_falls_into_one_digest(digest, subscribed, add, clock, library):
    subscribed(READER)
    clock.now += DAY / 2 - 1  # One second before midnight: an import begins, and takes a while.
    late = clock.moment()
    clock.now += 10 * 60
    assert digest.collect({}) == 0
    library.add([made_paper("Written late")], at=late)
    clock.now += 10 * 60
    assert digest.collect({}) == 1
    (waiting,) = digest.listed()[1]
    assert waiting.period == "2026-11-30" and len(waiting.papers) == 1


TEXT = st.text(max_size=60)
NO_TOKENS = {"confirm": f"{ROOT}/mail/confirm/x", "unsubscribe": f"{ROOT}/mail/unsubscribe/x"}


@settings(max_examples=50)
@given(TEXT, TEXT, TEXT, TEXT)
def test_whatever_a_paper_holds_the_mail_has_its_headers_and_parts(title, author, summary, address):
    from datetime import UTC, datetime

    to = Subscription("0" * 32, READER, "daily", "", "corpus", "active", 0)
    envelope = Envelope("papers@example.org", "Papers", "m", "h.example", ROOT, NO_TOKENS)
    paper = Paper(id=title, title=title, authors=(author,), summary=summary, address=address)
    shown = choose.shown(paper, {title: MEASURED}, ROOT)
    made = messages.digest(to, envelope, "2026-11-30", [shown], 0, [shown], datetime.now(UTC))
    raw = made.as_bytes()
    assert raw.isascii() and max(map(len, raw.split(b"\r\n"))) <= 998
    again = email.message_from_bytes(raw, policy=email.policy.default)
    assert again.keys() == ["From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe",
                            "List-Unsubscribe-Post", "Auto-Submitted", "MIME-Version",
                            "Content-Type"]  # fmt: skip
    assert again["To"] == READER and not again.defects
    _, page = parts(again)
    assert all(one.startswith(("https://", "http://")) for one in page.addresses)


def test_the_mail_that_asks_carries_no_link_but_ours(digest, server, postbox):
    digest.subscribe(READER, "daily", query="free money now", family="corpus")
    digest.deliver(server, {})
    (message,) = postbox.to(READER)
    assert message["Subject"] == "Please confirm: papers by mail"
    text, page = parts(message)
    assert "free money now" in text and "3 days" in text
    assert {one.rsplit("/", 1)[0] for one in page.addresses} == {
        f"{ROOT}/mail/confirm", f"{ROOT}/mail/unsubscribe",
    }  # fmt: skip
