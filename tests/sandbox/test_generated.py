"""Generated code tries to get out, to take too much and to harm other calls; none of it works."""

import os
import socket
import subprocess
import tempfile
import textwrap
from pathlib import Path

import pytest

from tilth.errors import UsageError
from tilth.sandbox import bubblewrap, selftest
from tilth.sandbox.bubblewrap import SandboxError
from tilth.sandbox.generated import Call, Sandbox
from tilth.sandbox.selftest import attempt_all, require_sandbox, sandbox_works

pytestmark = pytest.mark.skipif(not sandbox_works(), reason="no bubblewrap that passes its test")
SOURCE = Path(selftest.__file__).parents[2]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(seconds=5, memory=256 << 20) as one:
        yield one


def run(sandbox, code, **options):
    return sandbox.run(textwrap.dedent(code), **options)


def test_a_program_gets_its_input_and_its_output_comes_back(sandbox):
    outcome = run(sandbox, "import sys\nprint(sys.stdin.read()[::-1])\nsys.stderr.write('no')",
                  stdin="a\u00fc\U0001f40c")  # fmt: skip
    assert (outcome.status, outcome.stdout, outcome.stderr) == ("ok", "\U0001f40c\u00fca\n", "no")
    large = os.urandom(3 << 20)
    program = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    import hashlib

    assert run(sandbox, program, stdin=large).stdout.strip() == hashlib.sha256(large).hexdigest()
    bytes_out = run(sandbox, r"import sys; sys.stdout.buffer.write(b'\xff\0a'); print('\ud800')")
    assert bytes_out.status == "ok" and "\\xff\0a" in bytes_out.stdout
    assert run(sandbox, "").status == "ok"


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("raise SystemExit", "ok", ""),
        ("exit(0)", "ok", ""),
        ("exit(3)", "error", "exit 3"),
        ("exit('why')", "error", "exit 1"),
        ("1 / 0", "error", "ZeroDivisionError"),
        ("def (:", "error", "SyntaxError"),
        ("'\\0'; \0", "error", "SyntaxError"),
        ("f = lambda: f()\nf()", "error", "RecursionError"),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt"),
        ("x = bytearray(1 << 30)", "memory", "MemoryError"),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory", "MemoryError"),
        ("import ctypes; ctypes.string_at(0)", "killed", "SIGSEGV"),
        ("import os; os.abort()", "killed", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("import os; os._exit(4)", "error", "exit 4"),
    ],
)
def test_how_a_call_ends_is_said(sandbox, code, status, error):
    outcome = run(sandbox, code)
    assert (outcome.status, outcome.error) == (status, error)
    assert run(sandbox, "print(1)").stdout == "1\n"


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\nwhile True: pass",
        "while True:\n try:\n  while True: pass\n except BaseException: pass",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "input = 9 ** 9 ** 9",
    ],
)
def test_time_is_limited_by_the_clock(sandbox, code):
    assert run(sandbox, code, seconds=0.3).status == "timed out"
    assert run(sandbox, "print(1)").stdout == "1\n"


def test_output_and_files_are_limited():
    with Sandbox(seconds=5, output=1000, file_bytes=1 << 20) as small:
        flood = run(small, "while True: print('x' * 99)")
        assert flood.status == "output" and len(flood.stdout) == 1000
        both = run(small, "import sys\nprint('a' * 600)\nsys.stderr.write('b' * 600)")
        assert both.status == "output" and len(both.stdout) + len(both.stderr) == 1000
        assert run(small, "print('a' * 999)").status == "ok"
        large = run(small, "open('/tmp/a', 'wb').write(bytes(2 << 20))")
        assert (large.status, large.error) == ("error", "OSError")
        many = """
            for number in range(99):
                open(f'/tmp/{number}', 'wb').write(bytes(1 << 16))
        """
        assert run(small, many).error == "OSError"
        swarm = run(small, "n = 0\nwhile True:\n open(f'/tmp/{n}', 'w').close()\n n += 1")
        assert swarm.status in ("output", "error")
        assert run(small, "import os; print(os.listdir('/tmp'))").stdout == "[]\n"


def test_nothing_of_the_network_is_there(sandbox):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = run(sandbox, f"""
            import socket
            print([name for _, name in socket.if_nameindex()])
            for address in (("127.0.0.1", {port}), ("1.1.1.1", 53), ("::1", {port})):
                kind = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
                try:
                    socket.socket(kind).connect(address)
                    print("connected")
                except OSError as error:
                    print("refused")
            try:
                print(socket.getaddrinfo("example.org", 80))
            except OSError as error:
                print("no name")
        """)  # fmt: skip
    assert outcome.stdout.split() == ["['lo']", *["refused"] * 3, "no", "name"]


def test_no_file_of_the_user_is_there(sandbox, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "told")
    secret = tmp_path / "secret"
    secret.write_text("told")
    outcome = run(sandbox, f"""
        import os
        paths = ["/etc/shadow", "/etc/passwd", "/proc/1/environ", {str(secret)!r},
                 {str(Path(__file__))!r}, {str(SOURCE)!r}, "/root/.bashrc", "/var", "/sys", "/run",
                 "/home"]
        print([path for path in paths if os.path.exists(path)])
        os.symlink("/etc/shadow", "/tmp/link")
        os.symlink("/proc/1/root", "/tmp/root")
        print([path for path in ("/tmp/link", "/tmp/root/etc") if os.path.exists(path)])
        print(sorted(os.environ), os.getuid())
    """)  # fmt: skip
    assert outcome.stderr == "" and "told" not in outcome.stdout
    lines = outcome.stdout.splitlines()
    assert lines[:2] == ["[]", "[]"]
    assert "SECRET_KEY" not in lines[2] and lines[2].split()[-1] != "0"


def test_only_its_own_folder_can_be_written(sandbox):
    outcome = run(sandbox, """
        import os
        written = []
        for folder in ("/", "/dev", "/dev/shm", "/usr", "/usr/lib", os.path.dirname(os.__file__),
                       os.path.dirname(os.path.dirname(os.__file__)), "/tmp"):
            try:
                open(folder + "/written", "w").close()
                written.append(folder)
            except OSError:
                pass
            for change in (lambda: os.chmod(folder, 0o777), lambda: os.rename(folder, "/tmp/x"),
                           lambda: os.utime(folder)):
                try:
                    change()
                    if folder != "/tmp":
                        written.append(folder)
                except OSError:
                    pass
        print(written)
    """)  # fmt: skip
    assert outcome.stdout == "['/tmp']\n"
    assert not Path("/tmp/written").exists()


def test_no_process_is_started_or_seen(sandbox):
    outcome = run(sandbox, f"""
        import os, subprocess, sys, threading
        def attempt(call):
            try:
                call()
                print("done")
            except (OSError, RuntimeError) as error:
                print(type(error).__name__)
        attempt(os.fork)
        attempt(threading.Thread(target=print).start)
        attempt(lambda: subprocess.run([sys.executable, "-c", ""]))
        attempt(lambda: os.kill({os.getpid()}, 0))
    """)  # fmt: skip
    assert outcome.stdout.split() == [
        "BlockingIOError", "RuntimeError", "BlockingIOError", "ProcessLookupError"
    ]  # fmt: skip


def test_a_fork_bomb_stays_small_and_is_cleared_away():
    with Sandbox(seconds=1, processes=5) as wide:
        outcome = run(wide, """
            import os, time
            started = 0
            try:
                while started < 1000:
                    if not os.fork():
                        os.setsid()
                        time.sleep(60)
                    started += 1
            except OSError:
                print(started, flush=True)
        """)  # fmt: skip
        assert outcome.stdout == "4\n" and outcome.status == "ok" and outcome.seconds < 1
        bomb = run(wide, "import os\nwhile True:\n try: os.fork()\n except OSError: pass")
        assert bomb.status == "timed out"
        # All of them are gone: as many can be started again.
        again = "import os\nfor _ in range(4):\n if not os.fork(): os._exit(0)\nprint('all')"
        assert run(wide, again).stdout == "all\n"


@pytest.mark.parametrize(
    "code",
    [
        "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
        "import os, signal; os.kill(-1, signal.SIGKILL)",
        "import os, signal; os.kill(os.getppid(), signal.SIGTERM)",
        "import os, resource as r; r.prlimit(os.getppid(), r.RLIMIT_NOFILE, (3, 3))",
        "import os, resource as r; r.prlimit(os.getppid(), r.RLIMIT_CPU, (1, 1))",
        "import os; os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "import os, signal; os.kill(1, signal.SIGKILL)",
        "import os; os.chmod('/tmp', 0)",
        "import os\nfor _ in range(2000): os.mkdir('a'); os.chdir('a')",
        "import os\nos.mkdir('/tmp/a'); open('/tmp/a/b', 'w'); os.chmod('/tmp/a', 0)",
        "import os\nfor d in range(3, 256):\n try: os.close(d)\n except OSError: pass",
        "import os\nfor d in range(0, 9):\n try: os.write(d, b'x' * 99)\n except OSError: pass",
    ],
)
def test_a_call_that_attacks_the_sandbox_harms_no_other(code):
    with Sandbox(seconds=3) as one:
        assert one.run("print(1)").stdout == "1\n"
        assert one.run(code).status in ("ok", "killed")
        after = run(one, """
            import os, resource
            open("a", "w")
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            print(os.listdir("/tmp"), os.getpriority(os.PRIO_PROCESS, 0), files)
        """)  # fmt: skip
        assert after.stdout == "['a'] 0 64\n"


def test_the_supervisor_cannot_be_read_traced_or_stopped_for_long():
    with Sandbox(seconds=3) as one:
        outcome = run(one, """
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            supervisor = os.getppid()
            print(libc.ptrace(16, supervisor, 0, 0))
            buffer = ctypes.create_string_buffer(8)
            class Part(ctypes.Structure):
                _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
            here, there = Part(ctypes.addressof(buffer), 8), Part(id(None), 8)
            parts = ctypes.byref(here), 1, ctypes.byref(there), 1, 0
            print(libc.process_vm_readv(supervisor, *parts))
            print(libc.unshare(0x10000000), libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
        """)  # fmt: skip
        assert outcome.stdout.split() == ["-1"] * 4


def test_many_calls_are_answered_in_order_whatever_one_of_them_does():
    calls = [Call(f"print({number})") for number in range(60)]
    calls[7] = Call("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")
    calls[20] = Call("while True: pass", seconds=0.2)
    calls[21] = Call("x = bytearray(10 ** 8)", memory=64 << 20)
    with Sandbox() as one:
        outcomes = one.run_many(calls, workers=2)
        assert one.run_many([]) == []
    assert [o.status for o in outcomes if o.status != "ok"] == ["killed", "timed out", "memory"]
    assert all(o.stdout == f"{n}\n" for n, o in enumerate(outcomes) if o.status == "ok")


def test_strings_hash_alike_in_every_start():
    seen = set()
    for _ in range(2):
        with Sandbox() as one:
            seen.add(one.run("print(hash('tilth'), list({'a', 'b', 'c', 'd'}))").stdout)
    assert len(seen) == 1


def test_folders_can_be_imported_from_and_only_read(tmp_path):
    (tmp_path / "helper.py").write_text("value = 5")
    tmp_path.chmod(0o755)
    with Sandbox(folders=[tmp_path]) as one:
        assert one.run("import helper; print(helper.value)").stdout == "5\n"
        assert one.run("import helper; open(helper.__file__, 'w')").error == "OSError"
        assert one.run(f"open({str(tmp_path / 'helper.py')!r})").error == "FileNotFoundError"
    assert (tmp_path / "helper.py").read_text() == "value = 5"
    if os.geteuid() == 0:
        tmp_path.chmod(0o700)
        with (
            pytest.raises(SandboxError, match="nobody cannot read"),
            Sandbox(folders=[tmp_path]) as one,
        ):
            one.run("")


def test_limits_are_checked():
    with pytest.raises(UsageError, match="seconds"):
        Sandbox(seconds=0)
    with pytest.raises(UsageError, match="workers"):
        Sandbox().run_many([Call("")], workers=0)


def test_root_gives_up_its_privileges(sandbox):
    if os.geteuid() != 0:
        pytest.skip("not root")
    sandbox.run("")
    status = Path(f"/proc/{sandbox._cell.host_process}/status").read_text()
    users = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    assert users == ["65534"] * 4
    assert next(line for line in status.splitlines() if line.startswith("Groups:")).split() == [
        "Groups:"
    ]


def test_an_ordinary_user_can_run_it():
    """With the system's interpreter, as the test's own may lie where only root can read it."""
    python = Path("/usr/bin/python3")
    program = (
        f"import sys; sys.path.append({str(SOURCE)!r})\n"
        "from tilth.sandbox.selftest import attempt_all\n"
        "from tilth.sandbox.generated import Sandbox\n"
        "print(attempt_all(), Sandbox().run('print(6 * 7)').stdout)"
    )
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(python), "-c"]
    able = "import sys; sys.exit(sys.version_info < (3, 11))"
    if os.geteuid() != 0 or not python.exists():
        pytest.skip("not root, so all other tests ran as an ordinary user")
    if subprocess.run([*command, able], cwd="/", check=False).returncode:
        pytest.skip("the system's Python is too old")
    if subprocess.run([*command, f"open({selftest.__file__!r})"], cwd="/", capture_output=True,
                      check=False).returncode:  # fmt: skip
        pytest.skip("nobody cannot read this checkout")
    done = subprocess.run([*command, program], cwd="/", capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["[]", "42"], done.stderr


@pytest.fixture
def with_program(monkeypatch):
    """Puts a `bwrap` of one's own first on the path."""

    def install(text):
        Path(folder, "bwrap").write_text(text)
        Path(folder, "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", folder)
        bubblewrap.find_bubblewrap.cache_clear()
        selftest._tested.cache_clear()

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield install
    bubblewrap.find_bubblewrap.cache_clear()
    selftest._tested.cache_clear()


def weaker(removed, added):
    """A program that calls bubblewrap without one of its options, and with others."""
    real = bubblewrap.find_bubblewrap()
    return f"""#!/bin/bash
words=()
for word in "$@"; do [ "$word" = {removed} ] || words+=("$word"); done
[ "$1" = --help ] && exec {real} --help
first="${{words[0]}}"
exec {real} "$first" {added} "${{words[@]:1}}"
"""


def test_a_sandbox_that_leaks_is_refused(with_program):
    with_program(weaker("--disable-userns", "--share-net --ro-bind /etc/passwd /etc/passwd"))
    through = attempt_all()
    assert "reach a port of this machine" in through
    assert "read /etc/passwd" in through
    assert "make a user namespace" in through
    with pytest.raises(SandboxError, match=r"leaks: .*reach a port"):
        require_sandbox()
    with pytest.raises(SandboxError, match="leaks"):
        Sandbox().run("print(1)")


def test_without_a_process_namespace_nothing_starts(with_program):
    with_program(weaker("--unshare-all", "--unshare-ipc"))
    with pytest.raises(SandboxError, match="no process namespace"):
        Sandbox().run("print(1)")


def test_a_machine_without_it_says_what_to_install(with_program, monkeypatch):
    with_program("#!/bin/sh\necho --unshare-all --clearenv\n")
    with pytest.raises(SandboxError, match=r"too old: it has no --size.*apt install bubblewrap"):
        Sandbox().run("print(1)")
    monkeypatch.setenv("PATH", "/nowhere")
    bubblewrap.find_bubblewrap.cache_clear()
    selftest._tested.cache_clear()
    with pytest.raises(SandboxError, match=r"not installed.*apt install bubblewrap"):
        Sandbox().run_many([Call("print(1)")])
    assert not sandbox_works()


def test_a_sandbox_that_does_not_start_says_why(with_program):
    # Nothing but the shell itself is needed, so that nobody can run it too.
    with_program("#!/bin/sh\ncase $1 in --help) echo --size --disable-userns --clearenv "
                 "--unshare-all;; *) echo no namespaces here >&2; exit 1;; esac\n")  # fmt: skip
    with pytest.raises(SandboxError, match="does not start: no namespaces here"):
        Sandbox().run("print(1)")
