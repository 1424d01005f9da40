"""Addresses: what is taken is harmless in a header; what is not plain is refused."""

import string
from email.headerregistry import Address
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.papers.digest.addresses import address, mailbox, masked, same
from tilth.papers.digest.messages import POLICY

ATOM = st.text(
    string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=15
)
LOCAL = st.lists(ATOM, min_size=1, max_size=3).map(".".join)
LABEL = st.text(string.ascii_lowercase, min_size=1, max_size=9)
DOMAIN = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
# Texts that are nearly addresses, with what breaks out of headers strewn in.
NEAR = st.lists(
    st.sampled_from(["a", "b.c", "@", "@example.org", "\r\n", "\n", "\r", "\0", "Bcc: x@y.z", ",",
                     ";", "<", ">", '"', " ", "\t", "é", "＠", "。", "\u2028", "\u0085", "\x0b",
                     "(", "%0a", "=?utf-8?q?=0A?=", "[127.0.0.1]", "xn--", ".", "-"]),
    max_size=8,
).map("".join)  # fmt: skip


@given(LOCAL, DOMAIN)
def test_plain_addresses_are_taken_as_they_are(local, domain):
    assert address(f"{local}@{domain}") == f"{local}@{domain}"
    assert address(f" {local}@{domain.upper()}\r\n") == f"{local}@{domain}"


@given(st.one_of(NEAR, st.text(max_size=40), st.tuples(st.text(), st.text()).map("@".join)))
def test_whatever_is_taken_adds_no_header_and_no_recipient(text):
    try:
        taken = address(text)
    except UsageError as error:
        assert "\n" not in str(error)
        return
    assert taken.isascii() and taken.isprintable() and taken.count("@") == 1
    assert not set(taken) & set(' ,;:<>()[]"\\')
    message = EmailMessage(policy=POLICY)
    message["To"] = Address(addr_spec=taken)
    assert message.as_bytes() == f"To: {taken}\r\n\r\n".encode()
    assert [one.addr_spec for one in message["To"].addresses] == [taken]
    # Taken once, taken again, as the same one.
    assert address(taken) == taken


@pytest.mark.parametrize(
    "text",
    ["", "a", "@", "a@", "@example.org", "a@b", "a@example.123", "a@[127.0.0.1]", "a b@example.org",
     "a@example.org,b@example.org", "a@example.org\nBcc: b@example.org", "a@exa\r\nmple.org",
     "a@example.org\r\nBcc: b@example.org", '"a b"@example.org', "Reader <a@example.org>",
     "a@example.org>", ".a@example.org", "a.@example.org", "a..b@example.org", "a@-b.org",
     "a@b-.org", "a@example..org", "a@example.org.", "é@example.org", "a@b@example.org",
     "a" * 65 + "@example.org", "a@" + "b" * 64 + ".org", "a@" + "b." * 200 + "org",
     "a\0@example.org", "a@example.org\0", "a@ex\u2028ample.org", "a@xn--\u00fc.org", "a@ü\n.org"],
)  # fmt: skip
def test_refused(text):
    with pytest.raises(UsageError):
        address(text)


@pytest.mark.parametrize(
    ("text", "taken"),
    [("reader@müller.example", "reader@xn--mller-kva.example"),
     ("reader@straße.example", "reader@xn--strae-oqa.example"),  # Not strasse: another domain.
     ("reader@BÜCHER.example", "reader@xn--bcher-kva.example"),
     ("reader@例え.example", "reader@xn--r8jz45g.example")],
)  # fmt: skip
def test_domains_in_other_letters_are_taken_in_ascii(text, taken):
    assert address(text) == taken


def test_what_counts_as_the_same():
    assert same("A.B@example.org") == same("a.b@example.org")
    assert mailbox("A+News@example.org") == mailbox("a+x@example.org") == mailbox("a@example.org")
    assert mailbox("+a@example.org") == "+a@example.org"
    assert masked("reader@example.org") == "r...@example.org"
