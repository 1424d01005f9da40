"""tilth's own server on a free port, in a thread of this process; raw requests to it."""

import contextlib
import http.client
import json
import socket
import threading

import uvicorn

from tilth.serving.guard import Guard
from tilth.serving.http import application, routes


class Announced(uvicorn.Server):
    """Sets `ready` when it answers."""

    def __init__(self, config):
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, *given, **named):
        await super().startup(*given, **named)
        self.ready.set()


@contextlib.contextmanager
def served(service, **guard):
    """The address of a server of this service, as (host, port)."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = Guard(application(routes(service)), limits=service.limits, **guard)
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None,
                            access_log=False, timeout_graceful_shutdown=20)  # fmt: skip
    server = Announced(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    address = listener.getsockname()
    thread.start()
    assert server.ready.wait(60)
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def ask(address, path, body=None, method=None, **headers):
    """(status, body, headers) of one request; `body`: JSON value or bytes."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        found = json.loads(text) if "json" in answer.headers["content-type"] else text.decode()
        return answer.status, found, answer.headers
    finally:
        connection.close()


def post(address, path, body, receive=None):
    """A socket on which a request was sent and nothing read. `receive`: bytes of its buffer."""
    data = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return sent(address, head + data, receive)


def sent(address, text, receive=None):
    """A socket on which a text was sent and nothing read."""
    plug = socket.socket()
    if receive:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    plug.settimeout(60)
    plug.connect(address)
    plug.sendall(text.encode("ascii"))
    return plug


def until(plug, mark):
    """What comes on a socket up to and with `mark`."""
    found = b""
    while mark not in found:
        part = plug.recv(4096)
        assert part, found
        found += part
    return found


def events(text):
    """The data of server-sent events, the end left out."""
    parts = [part.removeprefix("data: ") for part in text.split("\n\n") if part]
    assert parts.pop() == "[DONE]"
    return [json.loads(part) for part in parts]
