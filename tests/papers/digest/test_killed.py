"""Killed at each of its steps and run again, a sender sends nothing twice and loses nothing but
what is in doubt, which is listed."""

import email
import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def test_a_sender_that_is_killed_at_each_step(postbox, run_server, folder):
    kept = folder / "kept.jsonl"
    kept.touch()

    def taken(envelope):
        message = email.message_from_bytes(envelope.content)["Message-ID"].strip("<>").split("@")[0]
        with open(kept, "a") as file:
            file.write(json.dumps({"sender": envelope.mail_from, "message": message}) + "\n")
        if envelope.mail_from.startswith("kill-"):
            os.kill(int(envelope.mail_from[5:].split("@")[0]), signal.SIGKILL)

    postbox.taken = taken
    postbox.answers["nobody@example.org"] = "550 no such mailbox"
    program = Path(__file__).with_name("sender_killed.py")
    done = subprocess.run(
        [sys.executable, program, folder, str(run_server(postbox).port), kept],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    moments, _, in_doubt, *_ = done.stdout.split()
    assert int(moments) >= 25 and int(in_doubt) == 7
