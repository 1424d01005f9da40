"""Quoting beside baselines: how often the sentence that is quoted holds the answer.

Run: python benchmarks/ask.py [--folder FOLDER] [--half test|chosen]. Prints tables and, last, one
JSON object. The folder holds the data sets `tables_tatqa` and `agri_qa`; by default the one beside
this checkout or $TILTH_DATA. Questions whose answer stands word for word in a known text:

- tatqa: the span questions of TAT-QA (Zhu et al., 2021) that are answered from the text of a
  financial report; a document is the text around a table.
- agri: questions on soil, plant diseases and irrigation (non-commercial: only measured on here)
  whose answer stands in its paragraph; a document is eight paragraphs of a file in their order.

Half of the questions, by digest, chose the constants of `apps.quoting`; the other half is judged
(`--half`). Five documents are looked up by BM25, each gives a passage. One sentence quoted stands
beside the first sentence of the first passage and a random one of it (expected value); the whole
quote, three at most, beside the first three and three random ones. A text holds an answer if it
does with case, blanks and marks at its ends set aside. Intervals: bootstrap over questions, 95 %.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tilth.apps.ask import Asker
from tilth.apps.quoting import quotable
from tilth.documents.document import Document
from tilth.retrieval.bm25 import BM25
from tilth.store.cache import data_folders
from tilth.store.digest import digest

SAMPLES = 10_000
DRAWS = 50
AGRI = ("qna-farmgenie-soil", "qna-plant-diseases", "qna-water-irrigation")
PARAGRAPHS = 8
ARMS = (
    "quoted", "first sentence", "random sentence", "quoted, up to 3", "first 3", "random 3",
    "passage 1", "5 passages", "5 documents",
)  # fmt: skip
# The first arms, whose texts have a length.
TEXTS = 6
DIFFERENCES = (("quoted", "first sentence"), ("quoted", "random sentence"),
               ("quoted, up to 3", "first 3"), ("quoted, up to 3", "random 3"))  # fmt: skip
Questions = list[tuple[str, list[str]]]


class Texts(dict):
    """Documents by id."""

    def get_many(self, ids: list[str]) -> dict[str, Document]:
        return {id: Document(id, self[id]) for id in ids}


def plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .;:,")


def holds(text: str, answers: list[str]) -> bool:
    return any(plain(answer) in plain(text) for answer in answers)


def tatqa(folder: Path) -> tuple[Texts, Questions]:
    texts, questions = Texts(), []
    with gzip.open(folder / "tables_tatqa" / "tatqa_dev.json.gz", "rt", encoding="utf-8") as file:
        contexts = json.load(file)
    for context in contexts:
        paragraphs = sorted(context["paragraphs"], key=lambda one: one["order"])
        text = "\n\n".join(one["text"] for one in paragraphs)
        texts[digest("tatqa", text)] = text
        for one in context["questions"]:
            if one["answer_type"] == "span" and one["answer_from"] == "text":
                answer = one["answer"]
                questions.append(
                    (one["question"], answer if isinstance(answer, list) else [answer])
                )
    return texts, questions


def agri(folder: Path) -> tuple[Texts, Questions]:
    texts, questions = Texts(), []
    for name in AGRI:
        rows = pq.read_table(folder / "agri_qa" / f"{name}.parquet").to_pylist()
        rows = [
            (row["QUESTION.question"], row["ANSWER"], row["QUESTION.paragraph"]) for row in rows
        ]
        rows = [row for row in rows if all(row) and plain(row[1])]
        paragraphs = list(dict.fromkeys(paragraph for _, _, paragraph in rows))
        for first in range(0, len(paragraphs), PARAGRAPHS):
            text = "\n\n".join(paragraphs[first : first + PARAGRAPHS])
            texts[digest("agri", name, text)] = text
        questions += [(one, [answer]) for one, answer, text in rows if holds(text, [answer])]
    return texts, questions


def in_half(question: str, half: str) -> bool:
    even = int(hashlib.sha256(question.encode()).hexdigest(), 16) % 2 == 0
    return even == (half == "chosen")


def values(asker: Asker, question: str, answers: list[str], texts: Texts) -> list[float]:
    """One value for each of `ARMS`, then the words of the first six; 0 where nothing is found."""
    answer = asker.ask(question)
    if not answer.found:
        return [0.0] * (len(ARMS) + TEXTS)
    first = answer.passages[0].text
    sentences = [first[start:stop] for start, stop in quotable(first)]
    quoted = [sentence.text for sentence in answer.sentences]
    chance = random.Random(question)
    draws = [chance.sample(sentences, min(3, len(sentences))) for _ in range(DRAWS)]
    return [
        holds(quoted[0], answers),
        holds(sentences[0], answers),
        float(np.mean([holds(sentence, answers) for sentence in sentences])),
        any(holds(text, answers) for text in quoted),
        any(holds(text, answers) for text in sentences[:3]),
        float(np.mean([any(holds(text, answers) for text in draw) for draw in draws])),
        holds(first, answers),
        any(holds(passage.text, answers) for passage in answer.passages),
        any(holds(texts[passage.document], answers) for passage in answer.passages),
        words(quoted[:1]),
        words(sentences[:1]),
        words(sentences) / len(sentences),
        words(quoted),
        words(sentences[:3]),
        float(np.mean([words(draw) for draw in draws])),
    ]


def words(sentences: list[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def interval(array: np.ndarray) -> list[float]:
    drawn = np.random.default_rng(0).integers(0, len(array), (SAMPLES, len(array)))
    return [float(q) for q in np.quantile(array[drawn].mean(axis=1), [0.025, 0.975])]


def folder_of_data() -> Path:
    for folder in data_folders():
        if (folder / "tables_tatqa").is_dir() and (folder / "agri_qa").is_dir():
            return folder
    raise SystemExit("the data sets tables_tatqa and agri_qa are not here: give --folder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--half", choices=("test", "chosen"), default="test")
    given = parser.parse_args()
    folder = given.folder or folder_of_data()
    result: dict[str, object] = {"half": given.half}
    for read in (tatqa, agri):
        texts, questions = read(folder)
        judged = [one for one in questions if in_half(one[0], given.half)]
        asker = Asker(BM25().fit(texts), texts)
        table = np.array([values(asker, question, right, texts) for question, right in judged])
        print(f"\n{read.__name__}: {len(texts):,} documents, {len(judged):,} questions\n")
        shares: dict[str, dict[str, object]] = {}
        differences = {}
        for number, arm in enumerate(ARMS):
            share, bounds = float(table[:, number].mean()), interval(table[:, number])
            shares[arm] = {"share": round(share, 4), "interval": [round(b, 4) for b in bounds]}
            long = ""
            if number < TEXTS:
                shares[arm]["words"] = round(float(table[:, len(ARMS) + number].mean()), 1)
                long = f"  {shares[arm]['words']:5.1f} words"
            print(f"{arm:18}{share:8.3f}  [{bounds[0]:.3f}, {bounds[1]:.3f}]{long}")
        print()
        for one, other in DIFFERENCES:
            gain = table[:, ARMS.index(one)] - table[:, ARMS.index(other)]
            share, bounds = float(gain.mean()), interval(gain)
            differences[f"{one} - {other}"] = {
                "share": round(share, 4), "interval": [round(b, 4) for b in bounds]
            }  # fmt: skip
            print(f"{one} - {other}: {share:+.3f}  [{bounds[0]:+.3f}, {bounds[1]:+.3f}]")
        result[read.__name__] = {"documents": len(texts), "questions": len(judged),
                                 "shares": shares, "differences": differences}  # fmt: skip
    print(json.dumps(result, sort_keys=True))


if __name__ == "__main__":
    main()
