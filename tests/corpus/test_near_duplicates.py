import random
import sysconfig
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus import candidates, near_texts, shingle_kernels
from tilth.corpus.candidates import candidate_pairs, connected
from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.near_duplicates import NearDuplicates, recall, warm
from tilth.corpus.near_texts import near_families
from tilth.corpus.shingle_store import ShingleStore
from tilth.errors import UsageError
from tilth.store.cache import data_folders
from tilth.store.digest import digest
from tilth.testing.faults import tree
from tilth.testing.hostile import TEXTS
from tilth.testing.near_duplicates import planted, shingle_set, similar_pairs, word_list
from tilth.testing.strategies import texts

BANDS = (0.8, 0.85, 0.9, 0.95, 1.01)


def real_texts(count):
    """Web pages, articles and pieces of novels; else of this Python's library."""
    found = []
    for folder in data_folders():
        for name in ("web_quality_human/web", "wiki_plain/wiki_toy", "books_en/books"):
            path = folder / f"{name}.parquet"
            if path.is_file():
                for text in pq.read_table(path, columns=["text"])["text"].to_pylist():
                    found += [text[at : at + 1_000] for at in range(0, len(text), 20_000)]
    if len(found) < count:
        for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
            text = path.read_text("utf-8", "replace")
            found += [text[at : at + 1_000] for at in range(0, len(text), 4_000)]
    assert len(found) >= count
    return found[:count]


def corpus_of(folder, documents, workers=1, **options):
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"text": pa.array(documents, pa.large_string())})
    pq.write_table(table, folder / "documents.parquet", row_group_size=500)
    corpus = Corpus(folder / "corpus", executor=LocalExecutor(workers), **options)
    corpus.add([folder / "documents.parquet"])
    return corpus


def positions(corpus):
    return dict(zip(*(corpus.columns().column(name).to_pylist() for name in ("id", "position"))))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Over 5,000 planted and real texts: (corpus, texts, sets, pairs with a Jaccard >= 0.5)."""
    documents, _ = planted(real_texts(2_520), seed=7)
    corpus = corpus_of(tmp_path_factory.mktemp("planted"), documents, block_bytes=500_000)
    corpus.find_duplicates(NearDuplicates())
    sets = [shingle_set(text) for text in documents]
    return corpus, documents, sets, similar_pairs(sets, lowest=0.5)


def test_edges_beside_brute_force(searched):
    corpus, documents, sets, truth = searched
    place = positions(corpus)
    same = defaultdict(list)
    for number, text in enumerate(documents):
        if sets[number]:
            same[tuple(word_list(text))].append(number)
    names = {number: id for id, number in place.items()}
    first = {n: min(group, key=names.get) for group in same.values() for n in group}
    edges = {
        tuple(sorted((place[edge["id"]], place[edge["other"]]))): edge["similarity"]
        for edge in corpus.edges().to_pylist()
    }
    # Every edge is there for a reason, with the right number.
    long = {pair: value for pair, value in edges.items() if sets[pair[0]] or sets[pair[1]]}
    assert long and all(truth.get(pair, 0) >= 0.8 for pair in long)
    assert all(value == truth[pair] for pair, value in long.items())
    hits, counts = np.zeros(len(BANDS) - 1), np.zeros(len(BANDS) - 1)
    for (one, other), jaccard in truth.items():
        if jaccard >= 0.8:
            band = np.searchsorted(BANDS, jaccard, side="right") - 1
            pair = tuple(sorted((first[one], first[other])))
            counts[band] += 1
            hits[band] += pair[0] == pair[1] or pair in edges
    print(f"{len(documents):,} texts, {int(counts.sum()):,} pairs of at least 0.8, precision 1.0")
    for (low, high), hit, count in zip(pairwise(BANDS), hits, counts):
        print(f"  {low:.2f}-{min(high, 1):.2f}: {int(hit)} of {int(count)}")
    assert len(documents) >= 5_000 and counts.min() >= 50
    assert hits.sum() / counts.sum() >= 0.98


def test_families_are_the_components_of_the_pairs(searched):
    corpus, _, _, truth = searched
    place = positions(corpus)
    table = corpus.columns().to_pylist()
    family = {row["position"]: row["cluster"] for row in table}
    pairs = [pair for pair, jaccard in truth.items() if jaccard >= 0.8]
    label = connected(len(table), *(np.array(side, dtype=np.int64) for side in zip(*pairs)))
    expected = defaultdict(list)
    for number, name in enumerate(label.tolist()):
        expected[name].append(number)
    whole = [members for members in expected.values() if len(members) > 1]
    agree = [len({family[n] for n in members}) == 1 and family[members[0]] for members in whole]
    assert sum(map(bool, agree)) >= 0.98 * len(agree)
    for row in table:
        if row["cluster"] is not None:
            # The similarity to the one that gives the name is the true one, edge or not.
            pair = tuple(sorted((place[row["cluster"]], row["position"])))
            exact = 1.0 if pair[0] == pair[1] else truth.get(pair)
            assert exact is None or row["cluster_similarity"] == exact


def grow(base, name, workers, block_bytes, order):
    documents = base / name / "documents"
    documents.mkdir(parents=True)
    for number in order:
        text = (base / "texts" / f"{number}.txt").read_bytes()
        (documents / f"{number}.txt").write_bytes(text)
    executor = LocalExecutor(workers)
    corpus = Corpus(base / name / "corpus", executor=executor, block_bytes=block_bytes)
    corpus.add([documents])
    corpus.find_duplicates(NearDuplicates())
    return corpus


def test_order_workers_and_block_size_change_nothing(tmp_path):
    documents, _ = planted(real_texts(60), seed=3)
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(documents):
        (tmp_path / "texts" / f"{number}.txt").write_text(text, "utf-8")
    order = list(range(len(documents)))
    first = grow(tmp_path, "first", 1, 10_000, order)
    random.Random(0).shuffle(order)
    assert tree(grow(tmp_path, "second", 2, 10_000, order).folder) == tree(first.folder)
    rows = first.columns().sort_by("id").to_pylist()
    assert sum(row["cluster"] is not None for row in rows) > 60
    for name, size in (("large", 1_000_000), ("small", 500)):
        other = grow(tmp_path, name, 1, size, order)
        assert other.columns().sort_by("id").to_pylist() == rows
        assert other.edges() == first.edges()


@pytest.fixture(scope="module")
def table():
    return shingle_kernels.character_table()


def test_lower_case_is_taken_letter_by_letter(table):
    for code in (*range(0x2FF0), *range(0x10000, 0x1F000)):
        letter, entry = chr(code), int(table[code])
        expected = letter.lower() if len(letter.lower()) == 1 else letter
        assert entry & shingle_kernels.CODE_MASK == ord(expected)


def sets_of(documents, shingle, table):
    offsets, data = shingle_kernels.text_buffers(pa.array(documents, pa.large_string()))
    return shingle_kernels.shingle_sets(offsets, data, table, shingle)


@given(st.lists(st.one_of(texts(), st.text("aA bก้中é1\u0301.", max_size=40)), max_size=6))
@settings(max_examples=150, deadline=None)
def test_words_and_sets_are_those_of_the_regular_expression(table, documents):
    for shingle in (1, 2, 5):
        starts, found = sets_of(documents, shingle, table)
        expected = [shingle_set(text, shingle) for text in documents]
        assert np.diff(starts).tolist() == [len(items) for items in expected]
        here = [set(found[a:b].tolist()) for a, b in pairwise(starts)]
        for (one, two), (left, right) in zip(combinations(here, 2), combinations(expected, 2)):
            assert len(one & two) == len(left & right)


@given(st.lists(st.frozensets(st.sampled_from("abcdefghij")), min_size=2, max_size=8), st.data())
@settings(max_examples=80, deadline=None)
def test_jaccard_is_that_of_the_sets(tmp_path_factory, sets, data):
    starts, found = sets_of(
        [" ".join(items) for items in sets], 1, shingle_kernels.character_table()
    )
    number = st.integers(0, len(sets) - 1)
    pairs = data.draw(st.lists(st.tuples(number, number), max_size=20))
    left, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    expected = [
        len(sets[a] & sets[b]) / len(sets[a] | sets[b]) if sets[a] | sets[b] else 0.0
        for a, b in pairs
    ]
    assert shingle_kernels.similarities(starts, found, left, right).tolist() == expected
    with ShingleStore(tmp_path_factory.getbasetemp(), np.diff(starts), held=7) as store:
        order = np.argsort([digest(number) for number in range(len(sets))])
        for text in order:
            piece = found[starts[text] : starts[text + 1]]
            store.add(np.array([text]), np.array([len(piece)]), piece)
        assert store.similarities(left, right).tolist() == expected


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_connected_equals_a_flood_fill(count, pairs):
    pairs = [(a % count, b % count) for a, b in pairs]
    expected = list(range(count))
    for _ in range(count):
        for a, b in pairs:
            expected[a] = expected[b] = min(expected[a], expected[b])
    left, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    assert connected(count, left, right).tolist() == expected


keys_of_texts = st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), max_size=40)


@given(keys_of_texts, st.integers(2, 8), st.integers(1, 4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_candidates_agree_in_a_band_and_crowded_families_stay_connected(
    rows, largest, held, some_empty
):
    keys = np.array(rows, dtype=np.uint32).reshape(-1, 4).T
    sizes = np.array([(n % 3 or not some_empty) * 10 for n in range(len(rows))], dtype=np.int64)

    def read(first, last):
        return keys[first:last]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "KEY_BYTES", 4 * max(1, len(rows)) * held)
        left, right, crowding = candidate_pairs(read, 4, sizes, 0.5, largest)
    made = list(zip(left.tolist(), right.tolist()))
    assert made == sorted(set(made))
    buckets = defaultdict(list)
    for number, row in enumerate(rows):
        for band, key in enumerate(row):
            if sizes[number]:
                buckets[band, key].append(number)
    meet = {pair for bucket in buckets.values() for pair in combinations(bucket, 2)}
    assert set(made) <= meet
    if crowding.left_out == 0:
        assert set(made) == meet
    assert len(meet) - len(made) <= crowding.left_out
    meet_label = connected(len(rows), *sides(meet))
    assert meet_label.tolist() == connected(len(rows), left, right).tolist()


def sides(pairs):
    ordered = sorted(pairs)
    return tuple(np.array([pair[side] for pair in ordered], dtype=np.int64) for side in (0, 1))


def test_sizes_too_different_are_not_compared():
    keys, sizes = np.zeros((1, 3), dtype=np.uint32), np.array([100, 80, 79])
    left, right, _ = candidate_pairs(lambda first, last: keys, 1, sizes, 0.8)
    assert list(zip(left, right)) == [(0, 1), (1, 2)]


def test_agreement_of_bands_follows_the_formula():
    chance = np.random.default_rng(0)
    words = [f"w{n}" for n in range(4_000)]
    jaccard = 0.65
    both = int(200 * jaccard)
    pairs = []
    for _ in range(400):
        chosen = chance.permutation(4_000)[:200]
        # With shingles of one word the Jaccard is that of the words.
        one = [words[n] for n in chosen[: both + (200 - both) // 2]]
        two = [words[n] for n in [*chosen[:both], *chosen[both + (200 - both) // 2 :]]]
        pairs += [" ".join(one), " ".join(two)]
    single = NearDuplicates(shingle=1)
    batch = pa.RecordBatch.from_arrays(
        [pa.array([str(n) for n in range(800)]), pa.array(pairs, pa.large_string())], ["id", "text"]
    )
    keys = [
        np.frombuffer(row.as_py(), np.uint32) for row in single.fingerprint(batch).column("keys")
    ]
    meets = np.mean([(keys[n] == keys[n + 1]).any() for n in range(0, 800, 2)])
    assert abs(meets - recall(jaccard, single.bands, single.rows)) < 0.09
    assert recall(0.8, 20, 6) > 0.997 and recall(0.3, 20, 6) < 0.02


def test_texts_without_a_shingle_meet_only_where_they_are_equal(tmp_path):
    documents = [
        "One two three", "one  TWO three", "one two four", "...", "....", "four words in it",
        "five words are a shingle", "Five words -- are a shingle!", "中文没有", "中文没有空",
    ]  # fmt: skip
    corpus = corpus_of(tmp_path, documents)
    assert corpus.find_duplicates(NearDuplicates())["only_exact"] == 6
    groups = defaultdict(set)
    for row in corpus.columns().to_pylist():
        groups[row["cluster"]].add(row["position"])
    del groups[None]
    assert sorted(map(sorted, groups.values())) == [[0, 1], [6, 7]]


def test_hostile_texts_empty_ones_and_a_long_one(tmp_path):
    word = " ".join(random.Random(0).choices([f"word{n}" for n in range(50_000)], k=1_300_000))
    assert len(word) > 10_000_000
    documents = [*TEXTS, "", "word", word, word + " and so on", "a" * 1_000_000]
    method = NearDuplicates()
    batch = pa.RecordBatch.from_arrays(
        [pa.array([str(n) for n in range(len(documents))]), pa.array(documents, pa.large_string())],
        ["id", "text"],
    )
    prints = method.fingerprint(batch)
    assert prints.num_rows == len(documents)
    pieces = [method.fingerprint(batch.slice(n, 1)) for n in range(len(documents))]
    assert pa.Table.from_batches(pieces) == pa.Table.from_batches([prints])
    assert method.fingerprint(batch.slice(0, 0)).schema == method.schema
    corpus = corpus_of(tmp_path, [text for text in documents if text.strip()])
    corpus.find_duplicates(method)
    assert any(0.99 < edge["similarity"] < 1 for edge in corpus.edges().to_pylist())


def test_many_equal_texts_and_a_boilerplate_shared_by_all_are_linear(tmp_path):
    chance = random.Random(0)
    words = [f"word{n}" for n in range(20_000)]
    boilerplate = " ".join(chance.choices(words, k=200))
    equal = " ".join(chance.choices(words, k=40))
    documents = [equal] * 20_000
    documents += [f"{boilerplate} {' '.join(chance.choices(words, k=60))}" for _ in range(20_000)]
    # Of these, each of the last hundred is the one before with one word more.
    documents += [text + " more" for text in documents[-100:]]
    corpus = corpus_of(tmp_path, documents)
    found = corpus.find_duplicates(NearDuplicates())
    assert found["different"] == 20_101 and found["crowded_buckets"] > 0
    assert found["compared"] < 20 * candidates.PAIRS_EACH * 20_100
    assert found["pairs_left_out"] > 10_000_000
    place = positions(corpus)
    edges = {
        tuple(sorted((place[edge["id"]], place[edge["other"]])))
        for edge in corpus.edges().to_pylist()
        if place[edge["id"]] >= 20_000
    }
    assert edges == {(n - 100, n) for n in range(40_000, 40_100)}
    sizes = sorted(set(corpus.columns().column("cluster_size").to_pylist()))
    assert sizes == [1, 2, 20_000]


@pytest.mark.parametrize(
    "options, word",
    [
        ({"shingle": 0}, "shingle"),
        ({"bands": 0}, "bands"),
        ({"bands": 600, "rows": 2}, "at most 1024"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"seed": -1}, "seed"),
        ({"largest_bucket": 0}, "largest_bucket"),
        ({"threshold": 0.5}, "rows = 3"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, word):
    with pytest.raises(UsageError, match=word):
        NearDuplicates(**options)


def test_the_parameters_change_the_hash_functions_and_warm_compiles():
    warm()
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["a"]), pa.array(["one two three four five six seven"], pa.large_string())],
        ["id", "text"],
    )
    keys = {
        NearDuplicates(**options).fingerprint(batch).column("keys")[0].as_py()
        for options in ({}, {"seed": 2}, {"shingle": 4}, {"bands": 24})
    }
    assert len(keys) == 4


def test_families_of_texts_in_memory_are_those_of_a_corpus(tmp_path, monkeypatch):
    documents, _ = planted(real_texts(150), seed=5)
    documents += ["a few words", "A  few\nwords", "other words"]
    mine = defaultdict(set)
    for number, first in enumerate(near_families(documents).tolist()):
        mine[first].add(number)
    assert all(min(family) == first for first, family in mine.items())
    few = len(documents) - 3
    assert mine[few] == {few, few + 1} and mine[few + 2] == {few + 2}
    corpus = corpus_of(tmp_path, documents)
    corpus.find_duplicates(NearDuplicates())
    place = positions(corpus)
    families = defaultdict(set)
    for row in corpus.columns().to_pylist():
        families[row["cluster"] or row["id"]].add(place[row["id"]])
    assert set(map(frozenset, mine.values())) == set(map(frozenset, families.values()))
    assert len(documents) > len(mine) + 60
    # In pieces, and in another order, they are the same.
    monkeypatch.setattr(near_texts, "CHARACTERS", 5_000)
    order = np.random.default_rng(0).permutation(len(documents))
    again = near_families([documents[number] for number in order])
    pieces = defaultdict(set)
    for number, first in zip(order.tolist(), again.tolist()):
        pieces[first].add(number)
    assert set(map(frozenset, pieces.values())) == set(map(frozenset, mine.values()))
    assert near_families([]).tolist() == [] and near_families(["", ""]).tolist() == [0, 0]
