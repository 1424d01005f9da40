"""The house: rooms import only rooms above them, files stay small, commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tilth"

# The way the data goes; a room may import from those before it only.
ORDER = (
    "errors types lookup store sandbox documents corpus data signals tokens models objectives "
    "training retrieval serving evaluation synthesis zoo code pages tables apps papers systems "
    "report build web cli testing"
).split()

HEAVY = {"torch", "transformers", "pyarrow", "numba", "duckdb", "fastapi", "scipy", "matplotlib"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "tilth" and len(parts) > 1 else None


def test_every_room_has_its_place():
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()}
    assert rooms - {"__init__", "__main__"} <= set(ORDER)


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_room_imports_only_rooms_above(path):
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    below = set(ORDER[ORDER.index(room) + 1 :])
    tree = ast.parse(path.read_text("utf-8"))
    reached = {room_of(name) for name in imports(tree)}
    # The contract checks are public and may be used from any test, never from a room.
    assert not reached & below, f"{room} imports {reached & below}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_files_stay_small(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", sorted((SOURCE / "cli").glob("*.py")), ids=lambda p: p.name)
def test_commands_import_nothing_heavy_at_the_top(path):
    tree = ast.parse(path.read_text("utf-8"))
    top = ast.Module([n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))], [])
    assert not {name.split(".")[0] for name in imports(top)} & HEAVY


def test_help_is_fast_and_light():
    program = (
        "import io, sys, time, contextlib\n"
        "from tilth.cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    code = run(['--help'])\n"
        "assert code == 0 and 'build' in out.getvalue()\n"
        f"heavy = sorted(m for m in {HEAVY | {'numpy'}!r} if m in sys.modules)\n"
        "print(time.process_time(), *heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seconds, *heavy = done.stdout.split()
    assert heavy == []
    # CPU seconds of the process itself: the promise of the command line, not a benchmark.
    assert float(seconds) < 0.3


def test_tables_name_what_exists():
    import importlib

    from tilth.lookup import load

    for room in (
        "corpus",
        "corpus.transforms",
        "corpus.duplicates",
        "models.surgery",
        "signals",
        "signals.scorers",
        "serving",
        "retrieval",
        "systems",
        "documents",
    ):
        module = importlib.import_module(f"tilth.{room}")
        for name, table in list(vars(module).items()):
            if name.isupper() and isinstance(table, dict):
                for key, target in table.items():
                    if isinstance(target, str) and ":" in target:
                        assert load(room, table, key) is not None
