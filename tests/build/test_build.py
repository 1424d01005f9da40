"""The whole line on 200 mixed files: what is built can be used, and explains itself."""

import json
import shutil

import pytest

from tilth.build.plan import load
from tilth.build.run import Run, build
from tilth.cli.main import run as command
from tilth.corpus.reader import Reader
from tilth.errors import DataError, UsageError
from tilth.store.manifest import verify
from tilth.testing.faults import tree


def test_every_result_folder_is_complete_and_verified(built):
    parts = "tokens/tokenizer tokens/train tokens/test ngram model index encoder index/dense"
    for part in parts.split():
        verify(built.folder / part)
    verify(built.folder / "report")
    assert load(built.folder / "plan.resolved.toml").train.tokens == 20000


def test_search_finds_and_marks(built):
    source = next(d for d in built.corpus.documents(kept=True) if d.format == "markdown")
    number = source.text.split("case ")[1].split()[0]
    hits = built.search(f"case {number} tenant", k=3)
    assert hits[0].rank == 1 and hits[0].score >= hits[1].score
    assert any(number in hit.passage for hit in hits)
    assert "[" in hits[0].marked()
    assert built.search("qqqqxyz") == []
    reader = Reader(built.corpus)
    for using in ("lexical", "dense", "fused"):
        for hit in built.search("rent deposit", using=using, texts=reader.get_many):
            text = built.corpus.get(hit.id).text
            assert text[hit.start : hit.start + len(hit.passage)] == hit.passage


def test_dense_and_fused_search_answer_and_explain_themselves(built, capsys):
    source = next(d for d in built.corpus.documents(kept=True) if d.format == "markdown")
    for using in ("dense", "fused"):
        hits = built.search(source.text, k=3, using=using)
        assert hits[0].id == source.id
        assert dict(built.explain(source.text, source.id, using))["dense"] > 0.9
        words = ["search", str(built.folder), "rent deposit", "--with", using, "--json"]
        assert command(words) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["with"] == using and len(printed["hits"]) == 5
    assert command(["search", str(built.folder), "rent", "--with", "dens", "--explain"]) == 2
    assert "did you mean 'dense'" in capsys.readouterr().err


def test_the_report_says_which_search_to_use(built):
    found = built.report["evaluation"]["search"]
    assert found["drawn_from"] == "held-out documents"
    for name in ("lexical", "dense", "fused"):
        assert 0 <= found[name]["nDCG@10"] <= 1
    assert found["fusion"]["best"] in ("lexical", "dense")
    assert found["fusion"]["ci_low"] <= found["fusion"]["difference"] <= found["fusion"]["ci_high"]
    screen = "\n".join(built.first_screen())
    assert "Best single input: " in screen and "dense minus lexical" in screen
    # The items' documents are in no pair that the encoder has learned from.
    from tilth.build.indexes import training_pairs
    from tilth.build.searching import known_items

    pairs = training_pairs(built.corpus, load(built.folder / "plan.resolved.toml"))
    items = known_items(built.corpus, 20, 0, held_out=True).items
    assert items and pairs
    learned = " ".join(f"{pair.query} {pair.passage}" for pair in pairs)
    assert not any(item.sentence in learned for item in items)


@pytest.fixture(scope="module")
def changed(built, mixed, tmp_path_factory):
    """A copy of the run, built again with an encoder of one's own and fewer queries; and the time
    of its weights before that."""
    base = tmp_path_factory.mktemp("changed")
    shutil.copytree(built.folder, base / "run")
    shutil.copytree(built.folder / "encoder", base / "mine")
    before = (base / "run" / "model" / "model.safetensors").stat().st_mtime_ns
    settings = [f"dense.encoder={base / 'mine'}", "evaluate.queries=5"]
    with pytest.raises(UsageError, match=r"'dense\.layers' has no effect"):
        build(mixed, base / "run", settings=[*settings, "dense.layers=1"])
    return build(mixed, base / "run", settings=settings), before


def test_an_encoder_of_ones_own_is_used(built, changed):
    given, _ = changed
    assert not (given.folder / "encoder").exists()
    assert given.report["evaluation"]["search"]["drawn_from"] == "all kept documents"
    assert given.dense.encoder.fingerprint == built.dense.encoder.fingerprint


def test_a_changed_number_of_queries_trains_nothing_again(changed):
    given, before = changed
    assert (given.folder / "model" / "model.safetensors").stat().st_mtime_ns == before
    searched = json.loads((given.folder / "evaluation" / "search" / "search.json").read_text())
    assert searched["search"]["queries"] == 5


def test_the_model_continues_a_prompt_and_transformers_loads_it(built):
    text = built.generate("The court", tokens=10, seed=3)
    assert text == Run(built.folder).generate("The court", tokens=10, seed=3)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(built.folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(built.folder / "model")
    assert model.config.vocab_size >= len(tokenizer) > 256


def test_three_reasons_why(built):
    dropped = built.corpus.dropped()
    why = {d.source.split("/")[-1]: str(d) for d in dropped}
    assert "has words" in why["010.txt"]
    assert "binary" in why["040.bin"] and "empty" in why["050.txt"]
    copies = [d for d in dropped if d.source.endswith(("copy.txt", "005.txt"))]
    assert len(copies) == 1 and "stands for it" in str(copies[0])


def test_the_report_measures_the_model_beside_the_ngram_model(built):
    report = built.report
    assert report["evaluation"]["bits"]["model"] > 0
    assert report["evaluation"]["bits"]["ngram_all"] > 0
    assert len(report["evaluation"]["curve"]) >= 3
    assert 0 <= report["evaluation"]["search"]["lexical"]["R@10"] <= 1
    html = (built.folder / "report" / "report.html").read_text("utf-8")
    assert ("not measured yet" in html and "n-gram" in html) or "5-gram" in html
    assert len(built.first_screen()) >= 5


def test_held_out_text_is_in_no_training_block(built):
    from tilth.tokens.blocks import TokenBlocks

    training = set(TokenBlocks.open(built.folder / "tokens" / "train").ids)
    held_out = set(TokenBlocks.open(built.folder / "tokens" / "test").ids)
    assert training and held_out and not training & held_out
    texts = {d.id: " ".join(d.text.lower().split()) for d in built.corpus.documents(kept=True)}
    assert not {texts[i] for i in training} & {texts[i] for i in held_out}


def test_a_second_call_does_nothing_again(built, mixed):
    before = tree(built.folder)
    times = {p: p.stat().st_mtime_ns for p in built.folder.rglob("*.parquet")}
    build(mixed, built.folder)
    assert tree(built.folder) == before
    assert {p: p.stat().st_mtime_ns for p in built.folder.rglob("*.parquet")} == times


def test_the_command_line_gives_the_same_ids(built, capsys):
    assert command(["search", str(built.folder), "rent deposit", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [h["id"] for h in printed["hits"]] == [h.id for h in built.search("rent deposit")]
    assert command(["corpus", "show", str(built.folder), "--dropped", "--limit", "3"]) == 0
    assert len([x for x in capsys.readouterr().out.splitlines() if "dropped" in x]) == 3
    assert command(["corpus", "stats", str(built.folder)]) == 0
    assert command(["generate", str(built.folder), "The", "--tokens", "3"]) == 0
    assert command(["corpus", "show", str(built.folder), "documents/010.txt", "--why"]) == 0
    assert "has words" in capsys.readouterr().out


def test_a_folder_with_other_things_is_not_touched(tmp_path, mixed):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not a run folder"):
        build(mixed, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_rule_that_drops_all_says_so(mixed, tmp_path, small_plan):
    never = ['rule.conditions.never="words > 1000000"']
    with pytest.raises(DataError, match="no document was kept"):
        build(mixed, tmp_path / "run", plan=small_plan, settings=never)
    # The settings stay in the folder: later ones are applied to them.
    assert "never" in load(tmp_path / "run" / "plan.resolved.toml").rule.conditions


def test_a_run_is_not_turned_into_one_of_another_kind(built, mixed):
    before = tree(built.folder)
    with pytest.raises(UsageError, match="name its documents again"):
        build(None, built.folder)
    assert tree(built.folder) == before


def test_what_was_tried_before_leaves_no_trace(built, mixed, small_plan, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(built.folder, copy)
    (mixed / "late.bin").write_bytes(bytes(range(256)))
    try:
        other = ['rule.conditions.long="words >= 30"', "evaluate.queries=10", "dense.pairs=0"]
        changed = build(mixed, copy, plan=small_plan, settings=other)
        # A file that cannot be read changes the report, and the model is not trained again
        # where the kept text is the same.
        assert any(p.source.endswith("late.bin") for p in changed.corpus.problems())
        assert tree(copy) != tree(built.folder)
        assert "late.bin" in (copy / "report" / "report.html").read_text("utf-8")
        # Without pairs there is no dense index, and the reason is said.
        assert not (copy / "encoder").exists() and not (copy / "index" / "dense").exists()
        with pytest.raises(DataError, match=r"no dense index: the plan leaves it out"):
            changed.search("rent", using="fused")
        assert "dense and fused not measured yet (the plan" in "\n".join(changed.first_screen())
    finally:
        (mixed / "late.bin").unlink()
    build(mixed, copy, plan=small_plan)
    assert tree(copy) == tree(built.folder)


def test_an_unfinished_run_is_not_used(built, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(built.folder, copy)
    assert command(["doctor", str(copy)]) == 0
    index = next((copy / "index").glob("*.npy"))
    index.write_bytes(index.read_bytes()[:-1] + b"x")
    assert command(["doctor", str(copy)]) == 1
    assert index.name in capsys.readouterr().err
    (copy / "manifest.json").unlink()
    with pytest.raises(DataError, match="unfinished"):
        Run(copy).search("court")


def test_the_levels_of_spgc_are_exported_by_the_command(built, tmp_path, capsys):
    target = tmp_path / "levels"
    words = ["corpus", "export", str(built.folder), str(target), "--format", "spgc", "--json"]
    assert command(words) == 0
    count = json.loads(capsys.readouterr().out)["documents"]
    assert count == built.corpus.stats()["kept"] == len(list((target / "counts").iterdir()))
    assert command([*words[:4], "--split", "tset"]) == 2
    assert "did you mean 'test'" in capsys.readouterr().err
