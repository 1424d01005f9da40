"""What a child may do wrong; imported by children in test_child.py."""

import os
import signal
import sys
import time

calls = 0
hoard = []


def run(data: bytes, what: str = "echo", **options):
    global calls
    calls += 1
    return globals()[what](data, **options)


def echo(data):
    return data


def text(data):
    return data.decode("utf-8", "surrogateescape")


def value(data, **options):
    return {"options": options, "length": len(data), "calls": calls}


def facts(data):
    import resource

    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "environment": sorted(os.environ),
        "folder": os.getcwd(),
        "standard_input": sys.stdin.read(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
    }


def chatter(data):
    print("this must not run into the answer" * 1000, flush=True)
    os.write(1, b"\0" * 100_000)
    return "said"


def loop(data):
    while True:
        pass


def sleep(data):
    time.sleep(1000)


def bomb(data):
    grown = bytearray()
    while True:
        grown += b"x" * (1 << 20)


def leak(data):
    hoard.append(bytearray(40 << 20))
    return len(hoard)


def exit_now(data):
    os._exit(3)


def leave(data):
    sys.exit(4)


def segfault(data):
    os.kill(os.getpid(), signal.SIGSEGV)


def close_output(data):
    os.closerange(3, 64)
    time.sleep(1000)


def long_answer(data):
    return b"x" * (2 << 20)


def lie(data):
    """Writes a frame of its own onto the pipe: a huge body, or a header that is no JSON."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            continue
    time.sleep(1000)


def fail(data):
    raise ValueError("no good: " + data.decode())


def recurse(data):
    return recurse(data)


def odd(data):
    return object()


def write_file(data):
    with open(data.decode(), "wb") as file:
        file.write(b"something")


def fork(data):
    """A grandchild that would outlive its parent."""
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    return pid
