"""A real SMTP server of this process on a free port, and what tests read from a mail."""

import asyncio
import email
import email.policy
import re
import threading
import warnings

HOUR, DAY = 3600, 24 * 3600


class Postbox:
    """What an SMTP server does with each message: keep it, or answer as it was told to.

    `answers` and `data_answers`: recipient -> what the server says to RCPT or at the end of DATA;
    `HANG UP` ends the connection there, after the message was kept.
    """

    def __init__(self):
        self.kept, self.answers, self.data_answers = [], {}, {}
        self.sender_answer = self.taken = None

    async def handle_MAIL(self, server, session, envelope, address, options):
        if self.sender_answer:
            return self.sender_answer
        envelope.mail_from = address
        return "250 fine"

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = self.answers.get(address, "250 fine")
        if answer == "HANG UP":
            server.transport.abort()
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):
        answer = self.data_answers.get(envelope.rcpt_tos[0], "250 kept")
        if answer[0] in "2H":
            self.kept.append(envelope)
            if self.taken is not None:
                self.taken(envelope)
        if answer == "HANG UP":
            server.transport.abort()
        return answer

    def messages(self):
        """The messages kept, parsed."""
        policy = email.policy.default
        return [email.message_from_bytes(one.content, policy=policy) for one in self.kept]

    def to(self, recipient):
        """The messages of one recipient, and no other one is named in any of them."""
        found = []
        for envelope, message in zip(self.kept, self.messages()):
            assert envelope.rcpt_tos == [message["To"]], "one recipient a message"
            if recipient in envelope.rcpt_tos:
                found.append(message)
        return found


class Running:
    """An SMTP server in a thread of its own until `stop`."""

    def __init__(self, box, implicit_tls=None, **settings):
        from aiosmtpd.smtp import SMTP

        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

        def session():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # That a login is asked for without TLS.
                return SMTP(box, enable_SMTPUTF8=False, loop=self.loop, **settings)

        async def begin():
            return await self.loop.create_server(session, "127.0.0.1", 0, ssl=implicit_tls)

        self.server = asyncio.run_coroutine_threadsafe(begin(), self.loop).result(10)
        self.port = self.server.sockets[0].getsockname()[1]

    def stop(self):
        async def end():
            self.server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


def links(message):
    """The tokens of a message by purpose, from its text."""
    text = message.get_body(("plain",)).get_content()
    found = re.findall(r"https://papers\.example\.org/mail/(\w+)/(\S+)", text)
    return dict(found)
