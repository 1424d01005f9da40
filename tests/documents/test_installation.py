"""The Python installation: enough of it, the same each time, found without importing anything."""

import inspect
import json
import sys
import sysconfig

import pytest

from tilth.documents import installation
from tilth.documents.document import Document
from tilth.documents.formats.python import public_docstrings
from tilth.documents.inputs import Unit
from tilth.documents.installation import needed_packages, plan_installation
from tilth.documents.read import read_unit
from tilth.errors import DataError
from tilth.store.digest import sha256_file

MODULE = '''"""A module docstring that is longer than forty letters."""
if True:
    class Public(Base, metaclass=Meta):
        """A class docstring that is longer than forty letters.

            Indented.
        """

        async def method(self, a, /, b: int = 1, *rest, c=None, **more) -> "str":
            """A method docstring that is longer than forty letters."""
            def inner():
                """An inner docstring that is longer than forty letters."""

        def _private(self):
            """A private docstring that is longer than forty letters."""

        def short(self):
            """Too short."""
else:
    def fallback():
        """A fallback docstring that is longer than forty letters."""
class _Private:
    def method(self):
        """A hidden docstring that is longer than forty letters."""
try:
    pattern = "\\d"
except ImportError:
    def other(x): r"""Another docstring, with \\d, of more than forty."""
'''


def test_docstrings_of_public_objects():
    found = list(public_docstrings(MODULE, "package.module"))
    assert [entry[:4] for entry in found] == [
        ("package.module", "module", "", 1),
        ("package.module.Public", "class", "class Public(Base)", 3),
        ("package.module.Public.method", "method",
         "async def method(self, a, /, b: int=1, *rest, c=None, **more) -> 'str'", 9),
        ("package.module.fallback", "function", "def fallback()", 20),
        ("package.module.other", "function", "def other(x)", 28),
    ]  # fmt: skip
    assert found[1][4].endswith("\n\nIndented.")


@pytest.mark.parametrize("source", ["def f(:", "x = '\0'", "(" * 5000, "", "\ud800"])
def test_what_does_not_parse_has_no_docstrings(source):
    assert list(public_docstrings(source, "m")) == []


def read_module(tmp_path, data, source="stdlib/json/__init__.py"):
    path = tmp_path / "module.py"
    path.write_bytes(data)
    unit = Unit(str(path), source, len(data), sha256_file(path), "python", 0, len(data), 0, "g")
    return list(read_unit(unit))


def test_a_module_gives_its_source_then_its_docstrings(tmp_path):
    module, *docstrings = read_module(tmp_path, MODULE.encode())
    assert (module.text, module.format, module.position) == (MODULE, "code", 0)
    assert module.metadata == {"language_of_code": "python"}
    assert [d.position for d in docstrings] == [1, 2, 3, 4, 5]
    assert {d.format for d in docstrings} == {"docstring"} and docstrings[0].group == "g"
    assert docstrings[1].metadata == {
        "name": "json.Public", "kind": "class", "signature": "class Public(Base)", "line": 3,
    }  # fmt: skip


def test_broken_and_odd_modules(tmp_path):
    (only,) = read_module(tmp_path, b'def f(:\n """broken"""')
    assert only.format == "code"
    cookie = '# -*- coding: koi8-r -*-\n"""Документация длиннее сорока букв, честное слово."""\n'
    module, docstring = read_module(tmp_path, cookie.encode("koi8-r"))
    assert module.text == cookie and module.metadata["encoding"] == "koi8-r"
    assert docstring.text.startswith("Документация")
    _, lone = read_module(
        tmp_path, b'"""A docstring with \\ud800 a lone surrogate, long enough."""'
    )
    assert "\ufffd" in lone.text and lone.metadata["damage"] == 1


def test_docstrings_equal_those_of_the_running_interpreter(tmp_path):
    with open(json.decoder.__file__, "rb") as file:
        data = file.read()
    _, *docstrings = read_module(tmp_path, data, "stdlib/json/decoder.py")
    by_name = {d.metadata["name"]: d.text for d in docstrings}
    decoder = json.decoder.JSONDecoder
    assert by_name["json.decoder.JSONDecoder"] == inspect.getdoc(decoder)
    assert by_name["json.decoder.JSONDecoder.raw_decode"] == inspect.getdoc(decoder.raw_decode)


@pytest.fixture(scope="module")
def planned():
    with pytest.MonkeyPatch.context() as patch:
        # Some of the packages: looking at the files of all takes a second.
        some = {"tilth", "click", "jinja2", "lxml", "numpy", "sqlglot"}
        patch.setattr(installation, "needed_packages", lambda name: some)
        first = plan_installation(600_000)
        assert plan_installation(600_000) == first
    return first


def test_a_small_share_of_the_installation(planned):
    units, problems, manifest = planned
    assert problems == []
    assert 500_000 < sum(unit.size for unit in units) == manifest["bytes"] <= 660_000
    assert [unit.source for unit in units] == sorted({unit.source for unit in units})
    assert manifest["files"][0]["sha256"] == sha256_file(units[0].path)
    assert sysconfig.get_path("stdlib") not in json.dumps(manifest)
    for unit in units:
        parts = unit.source.split("/")
        assert not set(parts[:-1]) & {"site-packages", "__pycache__"}
        assert parts[0] != "stdlib" or not set(parts) & {"test", "tests", "idle_test"}
        assert unit.group == unit.group.removesuffix(".py") != ""


def test_all_of_it_can_be_read_and_nothing_is_imported(planned):
    before = set(sys.modules)
    documents = [entry for unit in planned[0] for entry in read_unit(unit)]
    assert all(isinstance(document, Document) for document in documents)
    assert len({d.id for d in documents}) == len(documents) > len(planned[0])
    assert {"code", "docstring"} <= {d.format for d in documents}
    new = set(sys.modules) - before
    assert all(name.partition(".")[0] in ("tilth", "pyarrow", "encodings") for name in new)


def test_packages_are_whole_until_the_limit_then_shared(monkeypatch, tmp_path):
    made = {}
    for group, count in {"": 3, "a": 2, "b": 30, "c": 30}.items():
        made[group] = []
        for number in range(count):
            path = tmp_path / f"{group}{number}.py"
            path.write_bytes(b"#" * 10)
            source = f"{group or 'stdlib'}/{number}.py"
            made[group].append(installation._File(str(path), source, "python", group or "s", 10))
    monkeypatch.setattr(installation, "needed_packages", lambda name: {"tilth", "a", "b", "c"})
    monkeypatch.setattr(installation, "_standard_library", lambda: made[""])
    monkeypatch.setattr(installation, "_package", lambda name, problems: made[name])
    monkeypatch.setattr(installation.metadata, "version", lambda name: f"1.{name}")
    units, _, manifest = plan_installation(200)
    taken = [unit.group for unit in units]
    assert taken.count("s") == 3 and taken.count("a") == 2 and len(units) == 22
    assert taken.count("b") > 1 and taken.count("c") > 1
    assert manifest["packages"] == {"a": "1.a", "b": "1.b", "c": "1.c"}


def test_needed_packages_follow_what_packages_say():
    needed = needed_packages("tilth")
    assert {"tilth", "numpy", "torch", "lxml", "typing-extensions"} <= needed
    assert not needed & {"pytest", "mypy", "hypothesis"}
    assert needed_packages("no-such-package-anywhere") == set()


def test_without_an_installed_tilth_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(installation, "needed_packages", lambda name: set())
    with pytest.raises(DataError, match="pip install"):
        plan_installation()


def test_the_whole_is_large_enough_without_reading_it(monkeypatch):
    """5,000 documents and 30 MB: modules, and docstrings counted in a part of them."""
    monkeypatch.setattr(installation, "sha256_file", lambda path: "")
    units, _, manifest = plan_installation()
    assert 30_000_000 <= manifest["bytes"] <= 44_000_000
    assert {unit.source for unit in units} >= {"stdlib/json/decoder.py", "stdlib/LICENSE.txt"}
    modules = [unit for unit in units if unit.format == "python"]
    sample = modules[:: len(modules) // 40]
    docstrings = 0
    for unit in sample:
        with open(unit.path, encoding="utf-8", errors="replace") as file:
            docstrings += sum(1 for _ in public_docstrings(file.read(), "m"))
    assert len(units) + docstrings / len(sample) * len(modules) > 5_000
