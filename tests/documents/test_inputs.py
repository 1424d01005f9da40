"""Which files are read, what they are called, and that order and place change nothing."""

import os
import pickle
import random
import socket
import stat
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.documents import walk
from tilth.documents.inputs import plan
from tilth.documents.read import read_unit, sha256_of
from tilth.documents.walk import find, matcher
from tilth.errors import UsageError
from tilth.store.digest import sha256_file


def write(folder, *names, data=None):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"text of {name}".encode() if data is None else data)


def sources(paths, **options):
    found, _ = find(paths, **options)
    assert [entry.source for entry in found] == sorted({entry.source for entry in found})
    return [entry.source for entry in found]


def test_a_folder_is_read_with_all_below(tmp_path):
    write(tmp_path, "in/b.txt", "in/a/c.txt", "in/a/d/e.md", "other/x.txt")
    assert sources([tmp_path / "in"]) == ["in/a/c.txt", "in/a/d/e.md", "in/b.txt"]
    assert sources([tmp_path / "in/b.txt"]) == ["b.txt"]
    assert sources([str(tmp_path / "in") + "/"]) == sources([tmp_path / "in"])


def test_the_working_folder_has_its_name(tmp_path, monkeypatch):
    write(tmp_path, "in/b.txt")
    monkeypatch.chdir(tmp_path / "in")
    assert sources(["."]) == sources(["../in"]) == ["in/b.txt"]
    assert sources(["b.txt"]) == ["b.txt"]


def test_equal_names_get_as_much_of_their_path_as_it_takes(tmp_path):
    write(tmp_path, "p/a/in/x.txt", "p/b/in/x.txt", "q/b/in/x.txt", "r/else/y.txt")
    inputs = [tmp_path / name for name in ("p/a/in", "p/b/in", "q/b/in", "r/else")]
    wanted = ["a/in/x.txt", "else/y.txt", "p/b/in/x.txt", "q/b/in/x.txt"]
    for _ in range(4):
        random.Random(0).shuffle(inputs)
        assert sources(inputs) == wanted
    # A name that is a folder on the way of another one.
    write(tmp_path, "s/in/in/x.txt", "in/in/x.txt")
    assert sources([tmp_path / "in", tmp_path / "s/in/in", tmp_path / "p/a/in"]) == sorted(
        [f"{tmp_path.name}/in/in/x.txt", "in/in/x.txt", "a/in/x.txt"]
    )


def test_a_file_reached_twice_is_read_once(tmp_path):
    write(tmp_path, "in/a/x.txt", "in/.hidden/y.txt")
    inputs = [tmp_path / "in", tmp_path / "in/a", tmp_path / "in/a/x.txt", tmp_path / "in"]
    assert sources(inputs) == ["in/a/x.txt"]
    assert sources([*inputs, tmp_path / "in/.hidden"]) == ["in/.hidden/y.txt", "in/a/x.txt"]


def test_include_and_exclude(tmp_path):
    write(tmp_path, "in/a.txt", "in/b.md", "in/drafts/c.txt", "in/d/drafts/e.txt", "in/d/f.txt")
    folder = [tmp_path / "in"]
    assert sources(folder, include=["*.md"]) == ["in/b.md"]
    assert sources(folder, include=["d/*.txt"]) == ["in/d/f.txt"]
    assert sources(folder, exclude=["drafts/"]) == ["in/a.txt", "in/b.md", "in/d/f.txt"]
    assert sources(folder, exclude=["/drafts/"]) == sources(folder, exclude=["drafts/**"])
    assert sources(folder, include=["*.txt"], exclude=["d"]) == ["in/a.txt", "in/drafts/c.txt"]
    assert sources([tmp_path / "in/a.txt"], exclude=["*.txt"]) == []


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("*.txt", ["a.txt", "x/a.txt", ".txt"], ["a.txt2", "atxt"]),
        ("x/*.txt", ["x/a.txt"], ["a.txt", "x/y/a.txt", "y/x/a.txt"]),
        ("**/a.txt", ["a.txt", "x/a.txt", "x/y/a.txt"], ["ba.txt"]),
        ("x/**", ["x/a", "x/y/a"], ["y/x/a"]),
        ("a?[0-9]", ["ab1", "x/ab1"], ["a1", "abc"]),
        ("[!a]b", ["cb"], ["ab"]),
        ("a+(b).txt", ["a+(b).txt"], ["aab.txt"]),
        ("x/", ["x/a", "y/x/a"], ["x"]),
        ("x", ["x", "x/a"], ["xa"]),
    ],
)
def test_globs(pattern, fits, does_not):
    matches = matcher([pattern])
    assert [name for name in [*fits, *does_not] if matches(name)] == fits


def test_a_glob_names_files_as_its_folder_would(tmp_path):
    write(tmp_path, "in/a.txt", "in/b.md", "in/c/d.txt", "in/odd[1].txt")
    assert sources([tmp_path / "in/*.txt"]) == ["in/a.txt", "in/odd[1].txt"]
    assert sources([tmp_path / "in/**/*.txt"]) == ["in/a.txt", "in/c/d.txt", "in/odd[1].txt"]
    assert sources([tmp_path / "i?/*/d.txt"]) == [f"{tmp_path.name}/in/c/d.txt"]
    assert sources([tmp_path / "in/*.md", tmp_path / "in/c/*"]) == ["in/b.md", "in/c/d.txt"]
    assert sources([tmp_path / "in/odd[1].txt"]) == ["odd[1].txt"]
    with pytest.raises(UsageError, match=r"no file fits \*\.pdf"):
        find([tmp_path / "in/*.pdf"])


def test_a_path_that_does_not_exist_is_a_mistake(tmp_path):
    write(tmp_path, "letters/a.txt")
    with pytest.raises(UsageError, match="did you mean 'letters'"):
        plan([tmp_path / "leters"])
    with pytest.raises(UsageError, match="no such file or folder"):
        plan([tmp_path / "letters/zzz/*.txt"])


def test_hidden_files_are_counted_and_can_be_named(tmp_path):
    write(tmp_path, "in/a.txt", *(f"in/.git/{n}" for n in range(9)), *(f"in/.h{n}" for n in "abc"))
    _, problems = plan([tmp_path / "in"])
    (problem,) = problems
    assert (problem.source, problem.reason) == ("in", "hidden")
    assert problem.detail == ".git, .ha, .hb and 1 more"
    units, problems = plan([tmp_path / "in/.ha"])
    assert [unit.source for unit in units] == [".ha"] and problems == []


def test_links_are_listed_and_never_followed(tmp_path):
    write(tmp_path, "in/a.txt", "out/secret.txt")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in/out").symlink_to("../out", target_is_directory=True)
    (tmp_path / "in/secret.txt").symlink_to(tmp_path / "out/secret.txt")
    (tmp_path / "in/broken").symlink_to("nowhere")
    (tmp_path / "link").symlink_to("in", target_is_directory=True)
    units, problems = plan([tmp_path / "in"])
    assert [unit.source for unit in units] == ["in/a.txt"]
    assert [(p.source, p.reason) for p in problems] == [
        (f"in/{name}", "link") for name in ("broken", "loop", "out", "secret.txt")
    ]
    # An input may be a link: it was named.
    assert sources([tmp_path / "link"]) == ["link/a.txt"]


def test_special_and_unreadable_files_are_listed(tmp_path, monkeypatch):
    write(tmp_path, "in/a.txt", "in/gone.txt")
    os.mkfifo(tmp_path / "in/pipe")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path / "in")
    server.bind("socket")
    server.close()
    real = walk.find

    def find_then_lose(*arguments):
        result = real(*arguments)
        (tmp_path / "in/gone.txt").unlink()
        return result

    monkeypatch.setattr("tilth.documents.inputs.find", find_then_lose)
    units, problems = plan([tmp_path / "in"])
    assert [unit.source for unit in units] == ["in/a.txt"]
    assert [(p.source, p.reason) for p in problems] == [
        ("in/gone.txt", "unreadable"), ("in/pipe", "special file"), ("in/socket", "special file"),
    ]  # fmt: skip
    assert str(tmp_path) not in "".join(p.detail for p in problems)


def test_a_folder_that_cannot_be_listed_costs_only_itself(tmp_path, monkeypatch):
    write(tmp_path, "in/a.txt", "in/closed/b.txt")
    real = os.listdir

    def listdir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    found, problems = find([tmp_path / "in"])
    assert [f.source for f in found] == ["in/a.txt"]
    assert [(p.source, p.reason, p.detail) for p in problems] == [
        ("in/closed", "unreadable", "Permission denied")
    ]


def test_names_that_are_no_utf_8(tmp_path):
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/caf\xe9\n.txt", "wb") as file:
        file.write(b"text")
    (unit,), _ = plan([tmp_path / "in"])
    assert unit.source == "in/caf\\xe9\n.txt"
    (document,) = read_unit(unit)
    assert document.text == "text"


def test_a_very_deep_tree(tmp_path, monkeypatch):
    # Made up, since few programs can delete one that is real.
    deepest = str(tmp_path) + "/d" * 1500
    monkeypatch.setattr(os, "listdir", lambda path: ["a.txt" if path == deepest else "d"])
    mode = {True: stat.S_IFREG, False: stat.S_IFDIR}
    monkeypatch.setattr(
        os, "lstat", lambda path: SimpleNamespace(st_mode=mode[path.endswith(".txt")])
    )
    (found,), problems = find([tmp_path])
    assert found.path == f"{deepest}/a.txt" and problems == []


def test_the_order_of_a_listing_changes_nothing(tmp_path, monkeypatch):
    write(tmp_path, *(f"in/{a}/{b}.txt" for a in "cab" for b in range(5)), "in/.x", "in/e/.y")
    (tmp_path / "in/empty.txt").touch()
    expected = plan([tmp_path / "in"])
    real = os.listdir
    for seed in range(5):

        def listdir(path, seed=seed):
            names = real(path)
            random.Random(seed).shuffle(names)
            return names

        monkeypatch.setattr(os, "listdir", listdir)
        assert plan([tmp_path / "in"]) == expected
    assert [unit.source for unit in expected[0]] == sorted(unit.source for unit in expected[0])


def test_the_place_of_the_folder_changes_no_document(tmp_path):
    write(tmp_path, "one/in/a.txt", "one/in/b/c.md", "two/deeper/in/a.txt", "two/deeper/in/b/c.md",
          data=b"same")  # fmt: skip
    one, _ = plan([tmp_path / "one/in"])
    two, _ = plan([tmp_path / "two/deeper/in"])
    assert [d for u in one for d in read_unit(u)] == [d for u in two for d in read_unit(u)]
    assert str(tmp_path) not in str([vars(d) for u in one for d in read_unit(u)])


def test_units_say_what_they_cover(tmp_path):
    write(tmp_path, "in/a.txt", "in/b.jsonl", data=b'{"text": "x"}\n' * 10)
    units, _ = plan([tmp_path / "in"], part_bytes=50, text_column="text", group_by="author")
    assert pickle.loads(pickle.dumps(units)) == units and len(set(units)) == len(units)
    assert [(u.start, u.stop, u.part, u.group) for u in units] == [
        (0, 140, 0, "in/a.txt"), (0, 56, 0, ""), (56, 112, 1, ""), (112, 140, 2, ""),
    ]  # fmt: skip
    assert units[0].sha256 == sha256_file(tmp_path / "in/a.txt")
    assert all(sha256_of(unit) == unit.sha256 for unit in units)
    assert units[0].options == (("group_by", "author"), ("text_column", "text"))
    assert ("first_line", 8) in units[3].options


def test_progress_counts_files(tmp_path):
    write(tmp_path, "in/a.txt", "in/b.txt")
    seen = []
    plan(tmp_path / "in", progress=lambda *step: seen.append(step))
    assert seen == [("list", 1, 2), ("list", 2, 2)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4), min_size=1, max_size=6))
def test_names_of_inputs_are_distinct_and_do_not_depend_on_order(tmp_path_factory, folders):
    root = tmp_path_factory.mktemp("names")
    paths = [root.joinpath(*parts) for parts in folders]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
        (path / "x.txt").write_text("x")
    found, _ = find(paths)
    assert len({f.source for f in found}) == len(found) == len({f.path for f in found})
    again, _ = find(paths[::-1])
    assert again == found
    assert all(f.path.endswith("/" + f.source) for f in found)
