"""Article extraction beside no extraction: token F1 against the article's text, set by hand.

Run: python benchmarks/extraction.py [--folder FOLDER]. Prints a table and, last, one JSON object.
The folder holds `ground-truth.json.gz` (page -> {"articleBody"}) and `html/PAGE.html.gz`, as in the
article extraction benchmark of Scrapinghub (Lopukhin & Shiyan 2020); by default it is the data set
`web_articles` beside this checkout or below $TILTH_DATA. Both arms read each page with tilth's own
HTML reader, in its child process: `article` with trafilatura, `text` without.

Tokens are runs of letters and digits in lower case, compared as bags; `order F1` compares runs of
four tokens, so that a text in another order counts less. Means over pages; intervals by bootstrap
over pages, paired for the difference.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tilth.documents.formats.common import Refused
from tilth.documents.formats.html import parse
from tilth.store.cache import data_folders

SAMPLES = 10_000
WORD = re.compile(r"\w+")
MEASURES = ("token F1", "precision", "recall", "order F1")


def scores(found: str, wanted: str) -> list[float]:
    """One value for each of `MEASURES`; 0 where one side is empty and the other is not."""
    one, two = (WORD.findall(text.lower()) for text in (found, wanted))
    precision, recall, f1 = f1_of(Counter(one), Counter(two))
    runs = (Counter(zip(*(words[n:] for n in range(4)), strict=False)) for words in (one, two))
    return [f1, precision, recall, f1_of(*runs)[2]]


def f1_of(found: Counter, wanted: Counter) -> tuple[float, float, float]:
    common = (found & wanted).total()
    precision = common / found.total() if found else float(not wanted)
    recall = common / wanted.total() if wanted else float(not found)
    return precision, recall, 2 * precision * recall / (precision + recall) if common else 0.0


def interval(values: np.ndarray) -> list[float]:
    """95 % of the means of resampled pages."""
    chance = np.random.default_rng(0)
    drawn = chance.integers(0, len(values), (SAMPLES, len(values)))
    return [float(q) for q in np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])]


def folder_of_pages() -> Path:
    for folder in data_folders():
        if (folder / "web_articles").is_dir():
            return folder / "web_articles"
    raise SystemExit("the data set web_articles is not here: give --folder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=None)
    folder = parser.parse_args().folder or folder_of_pages()
    truth = json.loads(gzip.decompress((folder / "ground-truth.json.gz").read_bytes()))
    values: dict[str, list[list[float]]] = {"article": [], "text": []}
    seconds = dict.fromkeys(values, 0.0)
    refused = dict.fromkeys(values, 0)
    nothing = 0
    for page in sorted(truth):
        data = gzip.decompress((folder / "html" / f"{page}.html.gz").read_bytes())
        for arm in values:
            begin = time.perf_counter()
            try:
                text, metadata = parse(data, article=arm == "article")
            except Refused:
                text, metadata = "", {}
                refused[arm] += 1
            seconds[arm] += time.perf_counter() - begin
            nothing += arm == "article" and metadata.get("article", "found") != "found"
            values[arm].append(scores(text, truth[page]["articleBody"]))
    arms = {arm: np.array(rows) for arm, rows in values.items()}
    difference = arms["article"] - arms["text"]
    print(f"{len(truth)} pages; {nothing} without an article, {refused['article']} refused\n")
    print(f"{'':12}" + "".join(f"{name:>28}" for name in MEASURES))
    result: dict[str, object] = {"pages": len(truth), "no_article": nothing, "refused": refused}
    for name, table in {**arms, "difference": difference}.items():
        means, bounds = table.mean(axis=0), [interval(table[:, n]) for n in range(len(MEASURES))]
        cells = [f"{mean:.4f} [{low:.4f}, {high:.4f}]" for mean, (low, high) in zip(means, bounds)]
        print(f"{name:12}" + "".join(f"{cell:>28}" for cell in cells))
        result[name] = {
            measure: {"mean": round(float(mean), 4), "interval": [round(b, 4) for b in bound]}
            for measure, mean, bound in zip(MEASURES, means, bounds)
        }
    worse = int((difference[:, 0] < 0).sum())
    result["pages_worse"] = worse
    result["milliseconds_a_page"] = {
        arm: round(1000 * total / len(truth), 1) for arm, total in seconds.items()
    }
    print(f"\n{worse} pages have a lower token F1 with extraction; milliseconds a page: ", end="")
    print(", ".join(f"{arm} {ms}" for arm, ms in result["milliseconds_a_page"].items()))
    print(json.dumps(result, sort_keys=True))


if __name__ == "__main__":
    main()
