import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.build.curation import draw, interval


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(-0.5, 0.5))
def test_a_known_difference_lies_in_its_interval(seed, shift):
    random = np.random.default_rng(seed)
    sizes = random.integers(500, 2000, 80)
    twin = random.normal(2, 0.3, (3, 80)) * sizes
    # Each document differs by the same bits per byte: the interval has no width to speak of.
    found = interval(twin + shift * sizes, twin, sizes, seed)
    assert np.isclose(found["difference"], shift)
    assert np.isclose(found["ci_low"], shift) and np.isclose(found["ci_high"], shift)
    wanted = "yes" if shift < -1e-9 else "no" if shift > 1e-9 else found["verdict"]
    assert found["verdict"] == wanted


def test_without_a_difference_the_verdict_is_rarely_more_than_undecided():
    random = np.random.default_rng(0)
    wrong = 0
    for trial in range(40):
        sizes = random.integers(500, 2000, 60)
        noise = random.normal(0, 100, (2, 2, 60))
        wrong += interval(noise[0], noise[1], sizes, trial)["verdict"] != "undecided"
    assert wrong <= 6


def test_both_samples_hold_equally_many_bytes_and_the_twin_what_was_dropped(built):
    corpus = built.corpus
    samples = draw(corpus, 10**9)
    decisions, splits = corpus.decisions(), corpus.splits()
    kept = dict(zip(decisions.column("id").to_pylist(), decisions.column("kept").to_pylist()))
    split = dict(zip(splits.column("id").to_pylist(), splits.column("split").to_pylist()))
    assert all(kept[id] and split[id] == "train" for id in samples["curated"])
    assert all(split[id] == "train" for id in samples["twin"])
    assert not all(kept[id] for id in samples["twin"])
    texts = {d.id: len(d.text.encode()) for d in corpus.documents()}
    columns = corpus.columns()
    cluster = dict(zip(columns["id"].to_pylist(), columns["cluster"].to_pylist()))
    held_out = {cluster[id] for id in split if split[id] == "test"} - {None}
    assert not any(cluster[id] in held_out for id in samples["twin"])
    whole = sum(
        texts[id] for id in kept
        if kept[id] and split[id] == "train" and cluster[id] not in held_out
    )  # fmt: skip
    assert sum(texts[id] for id in samples["curated"]) == whole
    twin = sum(texts[id] for id in samples["twin"])
    assert whole <= twin <= whole + max(texts.values())
    small = draw(corpus, 1000)
    assert small["twin"] == samples["twin"][: len(small["twin"])]


def test_the_build_leaves_the_comparison_and_its_evidence(built):
    found = json.loads((built.folder / "evaluation" / "curation" / "curation.json").read_text())
    curation = found["curation"]
    assert curation["ci_low"] <= curation["difference"] <= curation["ci_high"]
    assert np.isclose(curation["difference"], curation["curated"] - curation["twin"])
    assert any(line.startswith("Did curation help?") for line in built.first_screen())
