"""Fine-tuning of every kind of task on a tiny model, metrics, entities, what is saved."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.data.task import Task, schema
from tilth.errors import DataError, UsageError
from tilth.evaluation import task_metrics as metrics
from tilth.evaluation.entities import Counts, Entity, count, entities, entity_f1, total
from tilth.evaluation.tasks import TaskModel, evaluate, fine_tune, gold_of
from tilth.models.heads import dropout_settings
from tilth.store.manifest import read_manifest
from tilth.training.policy import Policy, PolicyRule
from tilth.zoo import tiny

# What decides is a word; the others are drawn.
OTHERS = "file name list object string return value error path read write".split()


def made(kind, count=48):
    chance = np.random.default_rng(0)
    rows = []
    for number in range(count):
        good = bool(number % 2)
        words = list(chance.choice(OTHERS, 4))
        key = "class" if good else "module"
        place = int(chance.integers(4))
        row = {"id": str(number), "group": str(number), "split": ""}
        text = " ".join([*words[:place], key, *words[place:]])
        if kind == "tag":
            tags = ["O"] * 5
            tags[place] = "B-KEY" if good else "B-OTHER"
            row |= {"tokens": text.split(), "tags": tags}
        elif kind == "choose":
            row |= {
                "text": "the",
                "choices": ["module it", "class it"][:: 1 if good else -1],
                "answer": int(good),
            }
        elif kind == "bag":
            row |= {"texts": [*words[:2], text], "label": "yes" if good else "no"}
        else:
            row["text"] = text
            row |= {
                "classify": {"label": "yes" if good else "no"},
                "multilabel": {"labels": ["a", "b"] if good else ["a"]},
                "pair": {"other": "the", "label": "yes" if good else "no"},
                "regress": {"other": "", "target": 3.0 if good else -1.0},
            }[kind]
        rows.append(row)
    return Task(kind, kind, pa.Table.from_pylist(rows, schema(kind)))


OPTIONS = {"epochs": 8, "learning_rate": 5e-3, "batch": 8, "length": 16}


@pytest.mark.parametrize(
    "kind", ["classify", "multilabel", "tag", "choose", "pair", "bag", "regress"]
)
def test_every_kind_is_learned_saved_and_loaded(tmp_path, kind):
    body, tokenizer, _ = tiny("masked")
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    task = made(kind)
    own = {"bag": {"pieces": 3}, "multilabel": {"epochs": 14}}
    options = {**OPTIONS, **own.get(kind, {})}
    tuned = fine_tune(body, task, tokenizer=tokenizer, seed=1, **options)
    found = evaluate(tuned, task)
    assert found.value > 0.9 and len(found.per_example) == task.table.num_rows
    assert next(iter(found.metrics)) == task.metric
    tuned.save(tmp_path / "model")
    listed = set(read_manifest(tmp_path / "model")["files"])
    assert listed == {path.name for path in (tmp_path / "model").iterdir()} - {"manifest.json"}
    again = TaskModel.load(tmp_path / "model", tokenizer)
    for one, other in zip(tuned.logits(task), again.logits(task)):
        assert np.allclose(one, other, atol=1e-6)
    assert all(torch.equal(before[name], t) for name, t in body.state_dict().items())


def test_transformers_loads_what_is_saved(tmp_path):
    from transformers import AutoModelForSequenceClassification

    body, tokenizer, _ = tiny("electra")
    task = made("classify", 24)
    tuned = fine_tune(body, task, tokenizer=tokenizer, **{**OPTIONS, "epochs": 4})
    tuned.save(tmp_path / "model")
    theirs = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "model"))
    assert theirs.config.id2label == {0: "no", 1: "yes"}
    from tilth.tokens.bpe import encode

    ids = [0, *encode(tokenizer, task.table["text"].to_pylist()[:1])[0], 0]
    with torch.no_grad():
        logits = theirs.eval()(input_ids=torch.tensor([ids])).logits[0].numpy()
    assert np.allclose(logits, tuned.logits(task)[0], atol=1e-5)


def test_a_folder_a_decoder_and_a_policy(tmp_path):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    body, tokenizer, _ = tiny("causal")
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(body, tmp_path / "base", tmp_path / "tokens")
    task = made("classify", 24)
    policy = Policy([PolicyRule("model.*", trainable=False)])
    tuned = fine_tune(tmp_path / "base", task, policy=policy, **{**OPTIONS, "epochs": 4})
    state = tuned.model.base_model.state_dict()
    assert all(torch.equal(state[name], t) for name, t in body.base_model.state_dict().items())
    assert set(tuned.predict(task)) <= {"no", "yes"}


def test_the_seed_counts_and_nothing_else():
    body, tokenizer, _ = tiny("masked")
    task = made("classify", 16)
    options = {**OPTIONS, "epochs": 6, "settings": dropout_settings(body.config, 0.1)}
    found = [
        fine_tune(body, task, tokenizer=tokenizer, seed=seed, **options).logits(task)
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_labels_that_were_not_learned_are_wrong():
    body, tokenizer, _ = tiny("masked")
    task = made("classify", 24)
    tuned = fine_tune(body, task, tokenizer=tokenizer, **{**OPTIONS, "epochs": 4})
    rows = task.table.to_pylist()
    for row in rows:
        row["label"] = "other"
    other = Task("classify", "other", pa.Table.from_pylist(rows, schema("classify")))
    assert evaluate(tuned, other).metrics == {"accuracy": 0.0, "macro F1": 0.0}
    assert gold_of(other)[0] == "other"


def test_mistakes_are_refused(tmp_path):
    body, tokenizer, _ = tiny("masked")
    with pytest.raises(UsageError, match="has no head to fine-tune"):
        fine_tune(body, Task("generate", "x", pa.Table.from_pylist([], schema("generate"))))
    with pytest.raises(UsageError, match="needs its tokenizer"):
        fine_tune(body, made("classify"))
    with pytest.raises(UsageError, match="has no option 'lenght'"):
        fine_tune(body, made("classify"), tokenizer=tokenizer, lenght=16)
    with pytest.raises(UsageError, match="rows of 128 tokens, but the model's context is 64"):
        fine_tune(body, made("classify"), tokenizer=tokenizer)
    with pytest.raises(UsageError, match="at least 10 steps"):
        fine_tune(body, made("classify"), tokenizer=tokenizer, length=16, epochs=1)
    with pytest.raises(DataError, match=r"holds no task\.json"):
        TaskModel.load(tmp_path)


# Cases of the conlleval rules, as seqeval's default mode has them.
CASES = [
    ("B-P I-P O B-L", [("P", 0, 2), ("L", 3, 4)]),
    ("I-P I-P O I-L", [("P", 0, 2), ("L", 3, 4)]),
    ("B-P B-P I-P", [("P", 0, 1), ("P", 1, 3)]),
    ("I-P I-L", [("P", 0, 1), ("L", 1, 2)]),
    ("B-P I-L I-L", [("P", 0, 1), ("L", 1, 3)]),
    ("S-P S-P B-L I-L E-L I-L", [("P", 0, 1), ("P", 1, 2), ("L", 2, 5), ("L", 5, 6)]),
    ("U-P B-L L-L L-L", [("P", 0, 1), ("L", 1, 3), ("L", 3, 4)]),
    ("O O", []),
    ("PER PER O LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
    ("B-GPE-NAM I-GPE-NAM", [("GPE-NAM", 0, 2)]),
]


@pytest.mark.parametrize(("tags", "expected"), CASES)
def test_entities_of_all_schemes(tags, expected):
    assert entities(tags.split()) == [Entity(*one) for one in expected]


@given(st.lists(st.sampled_from(["O", "B-P", "I-P", "B-L", "I-L"]), max_size=9))
@settings(max_examples=60, deadline=None)
def test_entities_do_not_overlap_and_cover_what_is_inside(tags):
    found = entities(tags)
    covered = [place for one in found for place in range(one.start, one.stop)]
    assert covered == [place for place, tag in enumerate(tags) if tag != "O"]
    for one in found:
        assert {tags[place][2:] for place in range(one.start, one.stop)} == {one.type}
        assert "B" not in {tags[place][0] for place in range(one.start + 1, one.stop)}


def test_entity_f1_by_hand():
    gold = [["B-P", "I-P", "O", "B-L"], ["B-P", "O"]]
    predicted = [["B-P", "I-P", "O", "B-P"], ["O", "O"]]
    # Right 1, predicted 2, there 3.
    assert total(count(a, b) for a, b in zip(gold, predicted)) == Counts(1, 2, 3)
    assert entity_f1(gold, predicted) == pytest.approx(2 / 5)
    # P: right 1 of 2 and 2; L: none.
    assert metrics.macro_entity_f1(gold, predicted) == pytest.approx((0.5 + 0.0) / 2)
    assert entity_f1([["O"]], [["O"]]) == 0.0
    with pytest.raises(ValueError, match="shorter"):
        entity_f1([["O"]], [])


def test_metrics_equal_those_of_scikit_learn():
    from scipy import stats
    from sklearn.metrics import f1_score

    chance = np.random.default_rng(3)
    gold, predicted = (chance.integers(0, 4, 60).astype(str) for _ in range(2))
    single = [[x] for x in gold], [[x] for x in predicted]
    assert metrics.macro_f1(*single) == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert metrics.micro_f1(*single) == pytest.approx(metrics.accuracy(gold, predicted))
    sets = [
        [[str(n) for n in range(4) if chance.random() < 0.4] for _ in range(50)] for _ in range(2)
    ]
    tables = [[[str(n) in labels for n in range(4)] for labels in some] for some in sets]
    for name in ("micro", "macro"):
        ours = {"micro": metrics.micro_f1, "macro": metrics.macro_f1}[name](*sets)
        assert ours == pytest.approx(f1_score(*tables, average=name))
    one, other = chance.normal(size=(2, 40))
    other[:20] = np.round(other[:20])
    assert metrics.pearson(one, other) == pytest.approx(stats.pearsonr(one, other)[0])
    assert metrics.spearman(one, other) == pytest.approx(stats.spearmanr(one, other)[0])
    assert metrics.pearson([1, 1], [2, 3]) == 0.0
