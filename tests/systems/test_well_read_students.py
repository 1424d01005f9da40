import json

from tilth import zoo
from tilth.evaluation.runner import run_system
from tilth.models.folder import save_model
from tilth.systems import _students_texts, load_system
from tilth.tokens import bpe
from tilth.zoo.micro import docstrings


def test_sides_share_no_group_and_the_test_is_the_same_for_every_seed():
    task = _students_texts.made_task(90)
    first, second = (_students_texts.sides(task, 20, 30, seed) for seed in (0, 1))
    ids = [[set(side.table["id"].to_pylist()) for side in sides] for sides in (first, second)]
    assert ids[0][2] == ids[1][2] and ids[0][0] != ids[1][0]
    for few, rest, tested in ids:
        assert len(few) == 20 and len(few | rest | tested) == 90
        assert not (few & rest or few & tested or rest & tested)
    assert first[1].labels == [""] and first[0].labels == ["dry", "wet"]


def test_it_runs_on_data_and_a_model_of_ones_own(tmp_path):
    model, tokenizer, _ = zoo.tiny("masked")
    bpe.save(tokenizer, tmp_path / "tokenizer")
    save_model(model, tmp_path / "model", tmp_path / "tokenizer")
    rows = [json.dumps({"text": text}) + "\n" for _, text in docstrings()[:60]]
    (tmp_path / "texts.jsonl").write_text("".join(rows))
    settings = {
        "seeds": 1, "labelled": 24, "test": 20, "steps": 10, "length": 16, "pretrain": 20_480,
        "tune": False, "texts": str(tmp_path / "texts.jsonl"),
    }  # fmt: skip
    result = run_system(
        load_system("well-read-students"), scale="own", data=_students_texts.made_task(),
        model=str(tmp_path / "model"), settings=settings,
    )  # fmt: skip
    assert {source["name"] for source in result["data"]} >= {"made"}
    assert [source["name"] for source in result["models"]] == ["--model"]
    # A training of so little is said to be too little.
    failing = [one["name"] for one in result["invariants"] if not one["holds"]]
    assert [name.split(" names ")[0] for name in failing] == [
        "2 tokens a parameter in pre-training", "the pre-trained student"
    ]  # fmt: skip
    assert result["verdict"] == "undecided"
