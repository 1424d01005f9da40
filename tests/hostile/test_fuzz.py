"""Every parser of foreign bytes: mutated seeds, and the inputs that once broke something."""

import random
import sys
from pathlib import Path

import pytest

from tilth.documents.document import Document
from tilth.documents.formats import EXTENSIONS, parser

sys.path.insert(0, str(Path(__file__).parent))
import fuzz

KEPT = sorted((Path(__file__).with_name("corpus")).iterdir())
ROUNDS = 150


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    # What needs seconds for a few kilobytes has found a weak place.
    monkeypatch.setattr(parser, "CPU_SECONDS", 5.0)


@pytest.mark.parametrize("name", fuzz.SEEDS)
def test_seeds_are_read(tmp_path, name):
    for seed in fuzz.SEEDS[name]:
        path = tmp_path / name
        path.write_bytes(seed)
        assert any(isinstance(entry, Document) for entry in fuzz.check(path))


def test_every_parser_of_foreign_bytes_has_seeds():
    forms = {EXTENSIONS.get(f".{part}") for name in fuzz.SEEDS for part in name.split(".")[1:]}
    assert forms >= {"pdf", "html", "csv", "tsv", "warc", "zip", "tar", "jsonl", "json", "text"}


@pytest.mark.parametrize("name", fuzz.SEEDS)
def test_mutated_seeds_give_documents_or_problems(tmp_path, name):
    chance = random.Random(name)
    path = tmp_path / name
    documents = problems = 0
    for _ in range(ROUNDS):
        path.write_bytes(fuzz.mutated(chance.choice(fuzz.SEEDS[name]), chance))
        found = fuzz.check(path)
        is_document = [isinstance(entry, Document) for entry in found]
        documents += sum(is_document)
        problems += len(found) - sum(is_document)
        assert not any("CPU seconds" in entry.detail for entry in found
                       if not isinstance(entry, Document))  # fmt: skip
    # A mutator that breaks everything, or nothing, tests little.
    assert documents and problems


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_kept_inputs_are_survived_twice_the_same(path):
    assert fuzz.check(path) == fuzz.check(path)


def test_kept_members_that_are_whole_are_read():
    found = {path.name: fuzz.check(path) for path in KEPT}
    texts = {name: [e.text for e in entries if isinstance(e, Document)]
             for name, entries in found.items()}  # fmt: skip
    assert texts["empty_name.zip"] == ["words", "well"] and texts["no_address.warc"] == ["well"]
