"""Tokens: what was changed, guessed, taken for another purpose or is too old is refused."""

import os
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.errors import DataError
from tilth.papers.digest.tokens import DAY, PURPOSES, nameless, new_name, read, secret, sign

KEY, NOW = bytes(range(32)), 1_800_000_000
NAMES = st.integers(0, (1 << 128) - 1).map("{:032x}".format)
PURPOSE = st.sampled_from(sorted(PURPOSES))


@given(st.binary(min_size=32, max_size=32), PURPOSE, NAMES, st.integers(0, 1 << 35))
def test_a_token_is_good_for_its_purpose_and_key_until_it_expires(key, purpose, name, now):
    token = sign(key, purpose, name, now)
    last = now + PURPOSES[purpose]
    assert read(key, purpose, token, now) == read(key, purpose, token, last - 1) == name
    assert read(key, purpose, token, last) is None
    assert all(read(key, other, token, now) is None for other in PURPOSES if other != purpose)
    assert read(key[::-1] + b"x", purpose, token, now) is None
    assert token.replace(".", "").replace("-", "").replace("_", "").isalnum()


@given(PURPOSE, NAMES, st.data())
def test_any_change_is_refused(purpose, name, data):
    token = sign(KEY, purpose, name, NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    letters = st.one_of(st.sampled_from("0123456789abcdefABCDEF._-="), st.characters())
    for changed in (
        token[:place] + data.draw(letters) + token[place + 1 :],
        token[:place] + token[place + 1 :],
        token[:place] + data.draw(letters) + token[place:],
    ):
        if changed != token:
            assert read(KEY, purpose, changed, NOW) is None


@given(PURPOSE, NAMES, NAMES, st.integers(1, 1 << 30))
def test_the_signature_of_one_token_is_none_of_another(purpose, name, other, more):
    token = sign(KEY, purpose, name, NOW)
    _, expires, signature = token.split(".")
    longer = f"{name}.{int(expires) + more}.{signature}"
    assert read(KEY, purpose, longer, NOW) is None
    if other != name:
        assert read(KEY, purpose, f"{other}.{expires}.{signature}", NOW) is None


@given(st.one_of(st.text(max_size=120), st.binary(max_size=120).map(lambda b: b.decode("latin-1"))))
def test_no_text_is_a_token(text):
    assert all(read(KEY, purpose, text, NOW) is None for purpose in PURPOSES)


def test_a_token_names_nobody():
    assert nameless(KEY, "mailbox", "a@example.org") != nameless(KEY, "visitor", "a@example.org")
    assert "a@example.org" not in nameless(KEY, "mailbox", "a@example.org")
    assert len({new_name() for _ in range(100)}) == 100
    assert PURPOSES["confirm"] == 3 * DAY


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "papers.sqlite"
    before = os.umask(0)
    try:
        found = set()
        threads = [threading.Thread(target=lambda: found.add(secret(path))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.umask(before)
    (key,) = found
    assert len(key) == 32 and secret(path) == key
    (file,) = path.parent.iterdir()
    assert file.name == "papers.key" and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret(tmp_path / "other.sqlite") != key


def test_a_key_that_others_can_read_or_that_is_damaged_is_refused(tmp_path):
    path = tmp_path / "papers.sqlite"
    secret(path)
    file = tmp_path / "papers.key"
    file.chmod(0o640)
    with pytest.raises(DataError, match="by others"):
        secret(path)
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(DataError, match="no key"):
        secret(path)
