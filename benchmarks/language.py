"""Language identification over the languages of the Universal Declaration of Human Rights.

Run: python benchmarks/language.py [--archive UDHR2.ZIP]. Prints tables and, last, one JSON object.
The archive is that of NLTK's corpus `udhr2` (texts of unicode.org), one text a language and script;
by default the data set `udhr2` beside this checkout or below $TILTH_DATA. The signal is as it is by
default. Whole documents, and each paragraph of at least 40 characters. A language that the model
does not know cannot be right; it counts in "all languages" and has a table of its own. Means are
over files, so that each language counts alike; intervals by bootstrap over files.
"""

from __future__ import annotations

import argparse
import json
import unicodedata
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from tilth.signals.language import Language, load_model
from tilth.store.cache import data_folders

LEAST_CHARACTERS = 40
SAMPLES = 10_000
SURE = 0.9
# The archive's codes (ISO 639-3, some of them old) by the model's labels. Codes of a macrolanguage
# that the model knows as one stand together.
CODES = """
af afr|am amh|ar arb|az azj|bcl bcl|be bel|bg bul|bn ben|br bre|bs bos|ca cat|cs ces|cy cym|da dan
de deu|dz dzo|el ell|en eng|eo epo|es spa|et est|eu eus|fa pes|fi fin|fo fao|fr fra|fy fri|ga gle
gd gla|gl glg|gu guj|gug gug|ha hau|he heb|hi hin|hr hrv|ht hat|hu hun|hy hye|id ind|ig ibo|is isl
it ita|ja jpn|jv jav|ka kat|kk kaz|km khm|kn kan|ko kor|ky kir|la lat|lb ltz|lg lug|ln lin|lo lao
lt lit|lv lav|mg plt|mk mkd|ml mal|mn khk|mr mar|ms mly|mt mlt|my mya|ne nep|nl nld|nn nno|no nob
nso nso|oc lnc prv auv|om gax|pa pan|pcm pcm|pl pol|ps pbu|pt por
qu qud qug quy quz qva qvc qvh qvm qvn qwh qxa qxn qxu|ro ron|ru rus|rw kin|sa san|se sme|sk slk
sl slv|sn sna|so som|sq als|sr srp|st sot|sv swe|sw swh|ta tam|tg tgk|th tha|tk tuk|tl tgl|tr tur
tt tat|ug uig|uk ukr|ur urd|uz uzn|vec vec|vi vie|wa wln|xh xho|yo yor|zh cmn|zu zul
"""
LABEL_OF = {
    code: part.split()[0]
    for line in CODES.split("\n")
    for part in line.split("|")
    for code in part.split()[1:]
}


def script_of(text: str) -> str:
    """The script of most letters, by the first word of their Unicode names."""
    letters = Counter(letter for letter in text if letter.isalpha())
    scripts: Counter = Counter()
    for letter, count in letters.items():
        scripts[unicodedata.name(letter, "UNKNOWN").split()[0].title()] += count
    return scripts.most_common(1)[0][0] if scripts else "None"


def answers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])
    measured = Language().measure(batch)
    return np.array(measured.column(0).to_pylist()), np.array(measured.column(1))


def mean_and_interval(values: list[float]) -> tuple[float, list[float]]:
    array = np.array(values)
    drawn = np.random.default_rng(0).integers(0, len(array), (SAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(axis=1), [0.025, 0.975])
    return float(array.mean()), [float(low), float(high)]


def archive_here() -> Path:
    for folder in data_folders():
        if (folder / "udhr2" / "udhr2.zip").is_file():
            return folder / "udhr2" / "udhr2.zip"
    raise SystemExit("the data set udhr2 is not here: give --archive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, default=None)
    given = parser.parse_args().archive or archive_here()
    labels = set(load_model().labels)
    rows = []
    with zipfile.ZipFile(given) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".txt")):
            text = archive.read(name).decode("utf-8", "replace")
            stem = Path(name).stem
            label = LABEL_OF.get(stem.split("_")[0])
            lines = [line.strip() for line in text.split("\n")]
            parts = [line for line in lines if len(line) >= LEAST_CHARACTERS]
            document, sure = answers([text])
            found, confidence = answers(parts)
            rows.append(
                {
                    "file": stem, "label": label if label in labels else None,
                    "script": script_of(text), "paragraphs": len(parts),
                    "document": document[0], "confidence": sure[0],
                    "documents": float(document[0] == label),
                    "share": float((found == label).mean()) if parts else 0.0,
                    "sure": float((confidence >= SURE).mean()) if parts else 0.0,
                    "taken_for": Counter(found.tolist()).most_common(2),
                }
            )  # fmt: skip
    known = [row for row in rows if row["label"]]
    others = [row for row in rows if not row["label"]]
    print(
        f"{len(rows)} files, {sum(row['paragraphs'] for row in rows)} paragraphs; the model knows"
    )
    print(f"{len(labels)} languages, {len({row['label'] for row in known})} of them are here\n")
    print(f"{'':22}{'files':>7}{'whole documents':>28}{'paragraphs':>28}")
    scripts = defaultdict(list)
    for row in known:
        scripts[row["script"]].append(row)
    single = [row for part in scripts.values() if len(part) < 3 for row in part]
    groups = {"known languages": known, "all languages": rows}
    for script, part in sorted(scripts.items(), key=lambda item: -len(item[1])):
        if len(part) >= 3:
            groups[f"  {script}"] = part
    groups["  other scripts"] = single
    result: dict[str, object] = {"files": len(rows), "labels": len(labels)}
    for name, part in groups.items():
        cells = []
        entry: dict[str, object] = {"files": len(part)}
        for key, measure in (("documents", "documents"), ("paragraphs", "share")):
            mean, bound = mean_and_interval([row[measure] for row in part])
            cells.append(f"{mean:.4f} [{bound[0]:.4f}, {bound[1]:.4f}]")
            entry[key] = {"mean": round(mean, 4), "interval": [round(b, 4) for b in bound]}
        print(f"{name:22}{len(part):>7}{cells[0]:>28}{cells[1]:>28}")
        result[name.strip()] = entry
    print("\nknown languages with most paragraphs taken for another one:")
    for row in sorted(known, key=lambda row: row["share"])[:16]:
        taken = ", ".join(f"{label} {count}" for label, count in row["taken_for"])
        print(f"  {row['file']:16} is {row['label']:4} right {row['share']:.2f} of "
              f"{row['paragraphs']:3}: {taken}")  # fmt: skip
    claimed = float(np.mean([row["confidence"] >= SURE for row in others]))
    parts = float(np.mean([row["sure"] for row in others]))
    right_and_sure = float(np.mean([row["sure"] for row in known]))
    print(
        f"\n{len(others)} languages that the model does not know get an answer all the same, with"
    )
    print(
        f"a confidence of {SURE} or more for {claimed:.2f} of the documents and {parts:.2f} of the"
    )
    print(f"paragraphs; of the known languages' paragraphs {right_and_sure:.2f} are so sure")
    result["unknown_languages"] = {
        "files": len(others),
        "documents_sure": round(claimed, 4),
        "paragraphs_sure": round(parts, 4),
    }
    print(json.dumps(result, sort_keys=True))


if __name__ == "__main__":
    main()
