"""The whole way in a real browser and through a real mail server: subscribe, confirm, read a
digest, end it."""

import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import axe
import pytest
from web_site import make_site, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "papers" / "digest"))
from mail_server import Postbox, Running

from tilth.papers.digest import Digest
from tilth.papers.digest.smtp import MailServer
from tilth.papers.paper import made_paper

READER = "reader@example.org"


@pytest.fixture
def mail():
    box = Postbox()
    box.came = threading.Event()
    box.taken = lambda envelope: box.came.set()
    server = Running(box)
    box.server = MailServer("127.0.0.1", server.port, False, "papers@example.org", timeout=10)
    yield box
    server.stop()


def link(message, purpose):
    """An address in the HTML of a mail, as a reader presses it."""
    page = message.get_body(("html",)).get_content()
    (found,) = re.findall(rf'href="([^"]+/mail/{purpose}/[^"]+)"', page)
    return found


@pytest.mark.parametrize("script", [True, False])
def test_subscribe_confirm_read_a_digest_and_end_it(browse, mail, tmp_path, script):
    site = make_site(tmp_path)
    with serving(site) as address:
        home = f"http://{address[0]}:{address[1]}"
        digest = Digest(site.library, site.secret, home)
        site.post = digest.poster(mail.server, dict)
        tab = browse(width=375, dark=script, script=script)

        def looked_at():
            if script:
                axe.check(tab)

        tab.goto(f"{home}/papers?family=corpus")
        tab.get_by_label("E-mail address").fill(READER)
        tab.get_by_label("How often").select_option("daily")
        tab.get_by_role("button", name="Subscribe").click()
        tab.wait_for_url("**/subscribe")
        assert tab.get_by_role("heading", level=1).inner_text() == "Please look into your mailbox"
        looked_at()
        assert mail.came.wait(30), "the server asks for confirmation at once"

        tab.goto(link(mail.to(READER)[0], "confirm"))
        looked_at()
        assert "family corpus" in tab.locator("main").inner_text()
        assert [one.state for one in digest.listed()[0]] == ["pending"]
        tab.get_by_role("button", name="Confirm").click()
        tab.get_by_role("heading", name="This subscription is confirmed").wait_for()
        looked_at()
        assert [one.state for one in digest.listed()[0]] == ["active"]

        now = datetime.now(UTC)
        site.library.add(
            [made_paper("A paper of today", family="corpus")], at=now + timedelta(0, 5)
        )
        assert digest.collect({}, (now + timedelta(days=2)).date()) == 1
        assert digest.deliver(mail.server, {}).sent == 1
        message = mail.to(READER)[1]
        reader = browse(width=375, dark=script, script=script)
        reader.set_content(message.get_body(("html",)).get_content())
        assert reader.get_by_role("link", name="A paper of today").is_visible()

        tab.goto(link(message, "unsubscribe"))
        looked_at()
        assert len(digest.listed()[0]) == 1
        tab.get_by_role("button", name="End it").click()
        tab.get_by_role("heading", name="This subscription has ended").wait_for()
        looked_at()
        assert digest.listed() == ([], [])
