"""A real HTTP server in OpenAI's shape that misbehaves on demand.

What a prompt says in brackets is what the server does with it, in turn at each attempt, the last
for ever: "[429][500][ok] hello" is refused twice and then answered. Without brackets: ok.
"""

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, echo="none"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.echo = echo
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.asked: Counter[str] = Counter()
        self.bodies, self.keys = [], []
        self.now = self.most = 0
        self.gate = None
        # What is done whatever the prompt says.
        self.deed = ""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the game."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def stop(self):
        self.released.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *ignored):
        pass

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.keys.append(self.headers.get("authorization"))
            server.bodies.append(body)
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            if self.path.endswith("/chat/completions"):
                self.chat(body)
            else:
                self.echo(body)
        finally:
            with server.lock:
                server.now -= 1

    def chat(self, body):
        prompt = body["messages"][-1]["content"]
        with self.server.lock:
            number = self.server.asked[prompt]
            self.server.asked[prompt] += 1
        if self.server.gate is not None:
            self.server.gate.wait(10)
        deeds = [self.server.deed] if self.server.deed else re.findall(r"\[([^]]*)\]", prompt)
        deeds = deeds or ["ok"]
        deed = deeds[min(number, len(deeds) - 1)]
        text, reason, refusal = f"you said {prompt}, time {number + 1}", "stop", None
        if deed.isdigit():
            self.reply(int(deed), {"error": {"message": f"deed {deed}", "code": "deed"}})
        elif deed == "policy":
            self.reply(400, {"error": {"message": "no", "code": "content_policy_violation"}})
        elif deed == "slow":
            self.server.released.wait(20)
        elif deed == "drip":
            self.start(200, 1000)
            while not self.server.released.wait(0.02):
                self.wfile.write(b" ")
                self.wfile.flush()
        elif deed == "cut":
            self.start(200, 1000)
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif deed == "hang up":
            self.close_connection = True
        elif deed == "garbage":
            self.send(200, b'{"choices": [', "application/json")
        elif deed == "html":
            self.send(200, b"<html>welcome</html>", "text/html")
        elif deed == "odd":
            self.reply(200, {"choices": []})
        elif deed == "list":
            self.reply(200, [1, 2])
        else:
            if deed == "empty":
                text = " \n"
            elif deed == "null":
                text = None
            elif deed == "refusal":
                text, refusal = None, "I will not"
            elif deed in ("length", "content_filter"):
                reason = deed
            elif deed.startswith("say "):
                text = deed[4:]
            if body.get("stream") and deed != "whole":
                self.stream(deed, text, reason, refusal)
                return
            message = {"role": "assistant", "content": text, "refusal": refusal}
            choice = {"index": 0, "finish_reason": reason, "message": message}
            self.reply(200, {"id": "1", "object": "chat.completion", "created": 1,
                             "model": body["model"], "choices": [choice]})  # fmt: skip

    def stream(self, deed, text, reason, refusal):
        """The answer word by word; `break` hangs up in the middle, `error` fails there."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        words = re.findall(r"\s*\S+|\s+", text or "")
        if deed in ("break", "error"):
            words = words[:2]
        for word in words:
            self.event({"delta": {"content": word}})
            if deed == "wait":
                self.server.released.wait(20)
        if deed == "break":
            return
        if deed == "error":
            self.wfile.write(b'data: {"error": {"message": "out of memory"}}\n\n')
            return
        self.event({"delta": {"refusal": refusal} if refusal else {}, "finish_reason": reason})
        self.wfile.write(b'data: {"choices": [], "usage": null}\n\ndata: [DONE]\n\n')

    def event(self, choice):
        value = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "made",
                 "choices": [{"index": 0, "finish_reason": None, **choice}]}  # fmt: skip
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def echo(self, body):
        kind, text, extra = self.server.echo, body["prompt"], body["max_tokens"]
        if kind == "none" or (kind == "one" and extra == 0) or "[400]" in text:
            self.reply(400, {"error": {"message": f"max_tokens {extra} and echo do not go"}})
            return
        tokens = re.findall(r"\s*\S+", text) + [" more"] * extra
        values = [None, *(-float(len(token)) for token in tokens[1:])]
        details = {
            "tokens": tokens,
            "token_logprobs": values,
            "text_offset": [],
            "top_logprobs": None,
        }
        choice = {"index": 0, "finish_reason": "length", "text": "".join(tokens),
                  "logprobs": None if kind == "silent" else details}  # fmt: skip
        self.reply(200, {"id": "1", "object": "text_completion", "created": 1,
                         "model": body["model"], "choices": [choice]})  # fmt: skip

    def reply(self, code, value):
        self.send(code, json.dumps(value).encode(), "application/json")

    def send(self, code, data, kind):
        self.start(code, len(data), kind)
        self.wfile.write(data)

    def start(self, code, length, kind="application/json"):
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        if code == 429:
            self.send_header("retry-after", "0.001")
        self.end_headers()
