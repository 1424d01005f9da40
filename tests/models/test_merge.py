"""Merging: exact where promised, on tensors, checkpoints and folders; misfits are errors."""

import functools
import json

import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.models.checkpoint import Checkpoint
from tilth.models.merge import TensorFiles, merge_folders
from tilth.models.surgery import arithmetic
from tilth.models.surgery.combine import METHODS, combine
from tilth.models.surgery.promise import equal_bits
from tilth.models.surgery.run import operate
from tilth.store.manifest import verify
from tilth.testing.architectures import NAMES, checkpoint
from tilth.tokens import bpe

ALL = (*NAMES, "llama-untied")


def moved(base, seed, scale=0.05):
    generator = torch.Generator().manual_seed(seed)
    return base.with_(
        {n: t + scale * torch.randn(t.shape, generator=generator) for n, t in base.tensors.items()}
    )


def same(left, right):
    return all(equal_bits(left.tensors[n], right.tensors[n]) for n in left.tensors)


@functools.cache
def family(name):
    """A base and three that came from it."""
    base = checkpoint(name)
    return base, *(moved(base, seed) for seed in range(3))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("method", ["task-arithmetic", "dare", "ties"])
def test_one_model_of_weight_one_comes_back(name, method):
    base, other, third = family(name)[:3]
    assert same(combine(base, others=[other], method=method, density=1.0), other)
    if method != "ties":
        assert same(combine(base, others=[other, third], weights=[1, 0], method=method,
                            density=1.0), other)  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_weights_of_zero_give_the_base(name):
    base, *others = family(name)
    done = operate("combine", base, others=others, weights=[0] * len(others))
    assert done.promise.identical


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("method", METHODS)
def test_order_is_irrelevant(name, method):
    base, *models = family(name)
    weights = [0.3, 1.0, 0.7]
    density = 1.0 if method == "dare" else 0.4
    one, other = (
        combine(base, others=[models[n] for n in order], weights=[weights[n] for n in order],
                method=method, density=density)
        for order in ((0, 1, 2), (2, 0, 1))
    )  # fmt: skip
    assert same(one, other) and not same(one, base)
    # Two names of one tied table stay one tensor, and the model can be made.
    assert set(one.tensors) == set(base.tensors)
    assert one.model().config.tie_word_embeddings == base.config.tie_word_embeddings


@pytest.mark.parametrize("method", ["task-arithmetic", "ties"])
def test_changes_in_different_places_just_add(method):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(40, 30, generator=generator)
    mask = torch.rand(base.shape, generator=generator) < 0.5
    # Numbers of very different size: a sum in any precision would lose the small ones.
    wild = torch.randn(base.shape, generator=generator) * 10.0 ** torch.randint(
        -12, 6, base.shape, generator=generator
    )
    left, right = torch.where(mask, wild, base), torch.where(mask, base, -wild)
    wanted = torch.where(mask, left, right)
    if method == "ties":
        found = arithmetic.ties(base, [left, right], [1, 1], density=1.0)
    else:
        found = arithmetic.task_arithmetic(base, [left, right], [1, 1])
    assert equal_bits(found, wanted)


def test_formulas_by_hand():
    base = torch.tensor([1.0, 1.0, 1.0, 1.0])
    one, two = torch.tensor([2.0, 1.0, 4.0, 0.5]), torch.tensor([1.5, 3.0, 0.0, 0.0])
    both = arithmetic.task_arithmetic(base, [one, two], [1.0, 0.5])
    assert both.tolist() == [2.25, 2.0, 3.5, 0.0]
    assert arithmetic.linear([one, two], [1, 3]).tolist() == [1.625, 2.5, 1.0, 0.125]
    # Deltas (1, 0, 3, -.5) and (.5, 2, -1, -1); trimmed to two each: (1, 0, 3, 0), (0, 2, -1, 0)
    # where of -1 and -1 the earlier stays; signs +, +, +, none.
    assert arithmetic.ties(base, [one, two], [1, 1], density=0.5).tolist() == [2, 3, 4, 1]
    assert arithmetic.ties(base, [one, two], [1, 1], density=1.0).tolist() == [1.75, 3, 4, 0.25]
    assert arithmetic.cosine(base, one, base + 2 * (one - base)) == pytest.approx(1.0)
    dropped = arithmetic.dare(torch.zeros(10000), [torch.ones(10000)], [1.0], density=0.25)
    assert set(dropped.tolist()) == {0.0, 4.0} and abs(float(dropped.mean()) - 1) < 0.1
    with pytest.raises(UsageError, match="no average"):
        arithmetic.linear([one, two], [1, -1])


@pytest.mark.parametrize("name", ALL)
def test_a_soup_of_copies_is_the_model(name):
    base = checkpoint(name)
    assert same(combine(base, others=[base] * 3, method="linear"), base)
    half = base.with_({n: t.bfloat16() for n, t in base.tensors.items()})
    assert same(combine(half, others=[half, half], method="linear"), half)
    assert same(combine(half, others=[half, half]), half)


def test_misfits_are_errors():
    base = checkpoint("llama")
    small = base.with_({**base.tensors, "model.norm.weight": torch.ones(31)})
    with pytest.raises(
        DataError, match=r"'model\.norm\.weight' has the size 32 in the base and 31"
    ):
        combine(base, others=[small])
    with pytest.raises(DataError, match="in the base only"):
        combine(
            base, others=[base.with_({n: t for n, t in base.tensors.items() if "norm" not in n})]
        )
    with pytest.raises(UsageError, match="do not fit"):
        combine(base, others=[base], weights=[1, 2])
    with pytest.raises(UsageError, match="did you mean 'linear'"):
        combine(base, others=[base], method="linar")


@pytest.mark.parametrize("name", ALL)
def test_another_architecture_is_refused_by_name(name):
    base, other = checkpoint(name), checkpoint(ALL[ALL.index(name) - 1])
    if name == "llama-untied":
        other = checkpoint("llama")
        with pytest.raises(DataError, match=r"'lm_head\.weight' is in the base only"):
            combine(base, others=[other])
        other = checkpoint("gpt2")
    with pytest.raises(
        DataError, match=f"a {other.architecture} does not merge with a {base.architecture}"
    ):
        combine(base, others=[other])


@pytest.fixture
def folders(tmp_path):
    tokenizer = bpe.train(["one text of a few words"] * 5, 260)
    bpe.save(tokenizer, tmp_path / "tokens")
    base = checkpoint("llama")
    for name, model in (("base", base), ("one", moved(base, 1)), ("two", moved(base, 2))):
        model.save(tmp_path / name, tmp_path / "tokens")
    return tmp_path


def test_folders_are_merged_as_checkpoints_are(folders):
    one, two = (Checkpoint.load(folders / name) for name in ("one", "two"))
    found = merge_folders(
        folders / "out", [folders / "one", folders / "two"], base=folders / "base"
    )
    wanted = combine(checkpoint("llama"), others=[one, two])
    assert same(Checkpoint.load(folders / "out"), wanted)
    assert found.tensors == len(wanted.tensors) and abs(found.cosine) < 0.3
    verify(folders / "out")
    lineage = json.loads((folders / "out" / "merge.json").read_text())
    assert [m["name"] for m in lineage["models"]] == ["one", "two"]
    assert (folders / "out" / "tokenizer.json").is_file()
    merge_folders(folders / "mean", [folders / "one", folders / "two"], method="linear")
    assert same(Checkpoint.load(folders / "mean"), combine(one, others=[one, two], method="linear"))


def test_shards_are_read_and_bytes_repeat(folders):
    model = Checkpoint.load(folders / "one").model()
    model.save_pretrained(folders / "shards", max_shard_size="20KB")
    files = TensorFiles(folders / "shards")
    assert len(set(files.files.values())) > 1
    for out in ("a", "b"):
        merge_folders(folders / out, [folders / "shards"], base=folders / "base")
    assert (folders / "a/model.safetensors").read_bytes() == (folders / "b/model.safetensors").read_bytes()  # fmt: skip # noqa: E501
    assert same(Checkpoint.load(folders / "a"), Checkpoint.load(folders / "one"))


def test_folders_that_do_not_fit_are_refused_and_nothing_is_written(folders):
    other = bpe.train(["other words, other merges, other"] * 5, 260)
    bpe.save(other, folders / "tokens2")
    checkpoint("llama").save(folders / "foreign", folders / "tokens2")
    out = folders / "out"
    with pytest.raises(DataError, match="its tokenizer differs"):
        merge_folders(out, [folders / "one", folders / "foreign"], base=folders / "base")
    checkpoint("qwen3").save(folders / "qwen")
    with pytest.raises(DataError, match="model_type is 'llama' in base and 'qwen3'"):
        merge_folders(out, [folders / "qwen"], base=folders / "base")
    with pytest.raises(UsageError, match="needs the base"):
        merge_folders(out, [folders / "one"])
    with pytest.raises(UsageError, match="overwrite"):
        merge_folders(folders / "one", [folders / "one"], base=folders / "base")
    with pytest.raises(DataError, match=r"no config\.json"):
        merge_folders(out, [folders / "nowhere"], base=folders / "base")
    assert not out.exists()


def test_types_may_be_mixed(tmp_path):
    from safetensors.torch import load_file, save_file

    config = {"model_type": "anything", "architectures": ["Unknown"]}
    models = []
    for number, name in enumerate(("base", "one", "two")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        tensors = {
            "a.half": torch.full((3,), 1.0 + number, dtype=torch.bfloat16),
            "b.full": torch.full((5,), 1.0 + number),
            "c.count": torch.tensor([7], dtype=torch.int64),
            "d.none": torch.zeros(0),
        }
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        models.append(folder)
    merge_folders(tmp_path / "out", models[1:], base=models[0], weights=[1, 0.5])
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found["a.half"].tolist() == [3.0] * 3 and found["a.half"].dtype == torch.bfloat16
    assert found["b.full"].tolist() == [3.0] * 5 and found["c.count"].tolist() == [7]
    tensors["c.count"] += 1
    save_file(tensors, models[2] / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"'c\.count' holds no floating point numbers and differs"):
        merge_folders(tmp_path / "out", models[1:], base=models[0])
