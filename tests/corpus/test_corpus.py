import json
import random

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.export import export
from tilth.corpus.rules import Rule
from tilth.corpus.transforms.base import Chain
from tilth.corpus.transforms.headers import StripHeaders
from tilth.corpus.transforms.repair import Repair
from tilth.errors import DataError, UsageError
from tilth.signals.length import Length
from tilth.signals.repetition import Repetition
from tilth.testing.faults import tree

RULE = Rule({"long enough": "words >= 8"})


def write_documents(folder, count=60, seed=0):
    """Mixed files with known truth: which are too short, doubled, broken."""
    chance = random.Random(seed)
    words = [f"word{i}" for i in range(200)]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        text = " ".join(chance.choice(words) for _ in range(30)) + ".\n"
        if number % 10 == 3:
            text = "too short\n"
        if number % 10 == 7:
            text = "The same text is found in many of these files, word for word.\n"
        (folder / f"{number:03}.{'md' if number % 2 else 'txt'}").write_text(text)
    (folder / "empty.txt").write_text("")
    (folder / "binary.bin").write_bytes(bytes(range(256)) * 8)
    (folder / "page.html").write_text(
        "<html><head><title>T</title></head><body><p>One two three four five six seven eight "
        "nine.</p><script>never()</script></body></html>"
    )
    lines = [json.dumps({"text": f"record {i} " + "tells of something " * 5}) for i in range(20)]
    (folder / "records.jsonl").write_text("\n".join([*lines, "{broken"]) + "\n")


def grow(folder, documents, workers=1, **options):
    corpus = Corpus(folder, executor=LocalExecutor(workers), block_bytes=2_000, **options)
    corpus.add([documents])
    corpus.transform(Chain([Repair(), StripHeaders()]))
    corpus.measure([Length(), Repetition()])
    corpus.find_duplicates()
    corpus.select(RULE)
    corpus.split(0.1)
    return corpus


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    base = tmp_path_factory.mktemp("corpus")
    write_documents(base / "documents")
    return grow(base / "corpus", base / "documents")


def test_every_document_is_kept_or_has_a_reason(grown):
    outcomes = grown.outcomes()
    assert len(outcomes) == grown.stats()["layers"]["clean"]["documents"] + len(grown.problems())
    by_source = {d.source: d for d in outcomes}
    short = by_source["documents/003.md"]
    assert not short.kept and short.reasons == ("long enough",)
    problems = {p.source: p.reason for p in grown.problems()}
    assert problems["documents/empty.txt"] == "empty"
    assert problems["documents/binary.bin"] == "binary"
    assert "documents/records.jsonl" in problems
    for decision in grown.dropped():
        assert decision.reasons or decision.unknown or decision.problem
        assert "dropped" in str(decision)


def test_one_of_many_copies_is_kept_and_stands_for_the_others(grown):
    copies = [d for d in grown.outcomes() if d.source.endswith("7.md")]
    assert len(copies) >= 5
    kept = [d for d in copies if d.kept]
    assert len(kept) == 1
    others = [d for d in copies if not d.kept]
    assert {d.representative for d in others} == {kept[0].id}
    assert all(d.reasons == ("duplicate",) for d in others)


def test_html_is_visible_text_only(grown):
    page = next(d for d in grown.documents() if d.source.endswith("page.html"))
    assert "seven eight" in page.text and "never" not in page.text and "<" not in page.text
    assert page.metadata["title"] == "T"


def test_ids_lead_back_to_the_first_layer(grown):
    for document in list(grown.documents())[:5]:
        parent = grown.get(document.parents[0])
        assert parent.id == document.origin and not parent.parents
        assert grown.get(document.id[:12]) == document
    with pytest.raises(UsageError):
        grown.get("f" * 32)


def test_why_takes_a_source_or_an_id(grown):
    decision = grown.why("documents/003.md")[0]
    assert grown.why(decision.id) == [decision]
    with pytest.raises(UsageError, match="did you mean"):
        grown.why("documents/003.mdx")


def test_splits_hold_whole_files_and_close_over_copies(grown):
    table = grown.columns().append_column("split", grown.splits().column("split")).to_pylist()
    held_out = {row["cluster"] for row in table if row["split"] == "test"} - {None}
    training = {row["cluster"] for row in table if row["split"] == "train"} - {None}
    assert not held_out & training
    assert {row["split"] for row in table} >= {"train", "test"}


def test_worker_count_and_file_order_change_no_byte(grown, tmp_path):
    before = tree(grown.folder)
    write_documents(tmp_path / "documents", count=60)
    # The same files, created in another order.
    names = sorted((tmp_path / "documents").iterdir(), reverse=True)
    moved = tmp_path / "again" / "documents"
    moved.mkdir(parents=True)
    for name in names:
        (moved / name.name).write_bytes(name.read_bytes())
    assert tree(grow(tmp_path / "two", moved, workers=2).folder) == before


def test_one_more_file_makes_one_block_again(grown, tmp_path):
    write_documents(tmp_path / "documents")
    corpus = grow(tmp_path / "corpus", tmp_path / "documents")
    before = {
        p.name: p.stat().st_mtime_ns for p in (corpus.folder / "layers/clean/blocks").iterdir()
    }
    (tmp_path / "documents" / "new.txt").write_text("A new file with more than eight words in it.")
    corpus.add([tmp_path / "documents"])
    corpus.transform(Chain([Repair(), StripHeaders()]))
    assert "words" not in corpus.columns().column_names
    with pytest.raises(UsageError, match="words"):
        corpus.select(RULE)
    with pytest.raises(UsageError, match="run the select again"):
        corpus.decisions()
    grow(tmp_path / "corpus", tmp_path / "documents")
    after = {
        p.name: p.stat().st_mtime_ns for p in (corpus.folder / "layers/clean/blocks").iterdir()
    }
    changed = [name for name in after if before.get(name) != after[name]]
    assert len(changed) <= 4 and len(after) > 6
    assert any(d.source == "documents/new.txt" and d.kept for d in corpus.outcomes())


def test_a_changed_threshold_measures_nothing_again(grown, tmp_path):
    write_documents(tmp_path / "documents")
    corpus = grow(tmp_path / "corpus", tmp_path / "documents")
    signals = tree(corpus.folder / "layers" / "clean" / "signals")
    kept = corpus.stats()["kept"]
    corpus.select(Rule({"long enough": "words >= 1"}))
    assert corpus.stats()["kept"] > kept
    assert tree(corpus.folder / "layers" / "clean" / "signals") == signals


def test_exports_hold_what_was_kept(grown, tmp_path):
    kept = {d.id for d in grown.documents(kept=True)}
    assert export(grown, tmp_path / "out.jsonl") == len(kept)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {row["id"] for row in rows} == kept
    export(grown, tmp_path / "out.parquet", format="parquet", split="test")
    ids = set(pq.read_table(tmp_path / "out.parquet").column("id").to_pylist())
    assert ids and ids < kept
    with pytest.raises(UsageError, match="parquet"):
        export(grown, tmp_path / "x", format="parket")


def test_nothing_to_read_is_an_error_that_says_why(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "x.txt").write_text("")
    with pytest.raises(DataError, match="empty"):
        Corpus(tmp_path / "corpus").add([tmp_path / "documents"])


def test_a_change_and_back_is_the_same_state(tmp_path):
    write_documents(tmp_path / "documents", count=20)
    corpus = grow(tmp_path / "corpus", tmp_path / "documents")
    before = corpus.digest
    corpus.select(Rule({"other": "words >= 3"}))
    assert corpus.digest != before
    corpus.select(RULE)
    assert corpus.digest == before


def test_a_deleted_block_is_made_again(tmp_path):
    write_documents(tmp_path / "documents", count=20)
    corpus = grow(tmp_path / "corpus", tmp_path / "documents")
    before = tree(corpus.folder)
    for path in (corpus.folder / "layers").rglob("*.parquet"):
        path.unlink()
        break
    assert tree(grow(tmp_path / "corpus", tmp_path / "documents").folder) == before


def test_only_kept_text_is_held_out(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.txt").write_text(f"The same length of text in every file {number}.")
    (folder / "stub.txt").write_text("Too few words here.")
    corpus = grow(tmp_path / "corpus", folder)
    for seed in range(10):
        table = corpus.split(0.1, seed)
        held_out = set(table.filter(pc.equal(table.column("split"), "test"))["id"].to_pylist())
        kept = {document.id for document in corpus.documents(kept=True)}
        assert held_out and held_out <= kept


def test_a_short_or_empty_id_is_refused(grown):
    for id in ("", "abc"):
        with pytest.raises(UsageError, match="too short"):
            grown.get(id)


def test_dropped_is_refused_where_nothing_was_decided(grown, tmp_path):
    with pytest.raises(UsageError, match="no rule"):
        export(grown, tmp_path / "x.jsonl", layer="documents", kept=False)
    assert export(grown, tmp_path / "x.jsonl", layer="documents", kept=None) > 50
