"""Language identification: agrees with py3langid, on bounded samples."""

from __future__ import annotations

import zipfile

import pyarrow as pa
import pytest

from tilth.errors import UsageError
from tilth.signals.language import Language, load_model, sample
from tilth.store.cache import data_folders

SENTENCES = {
    "en": "The old house at the end of the road had been empty for more than twenty years.",
    "de": "Das alte Haus am Ende der Straße stand seit mehr als zwanzig Jahren leer.",
    "fr": "La vieille maison au bout de la rue était vide depuis plus de vingt ans.",
    "ru": "Старый дом в конце дороги пустовал двадцать лет.",
    "ja": "道の突き当たりの古い家は二十年以上空き家だった\u3002",
}


def measure(signal: Language, texts: list[str]) -> list[tuple[str, float]]:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])
    return [tuple(row.values()) for row in signal.measure(batch).to_pylist()]


def test_agrees_with_py3langid() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    theirs = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [
        *SENTENCES.values(),
        *map(str.upper, SENTENCES.values()),
        "café e\u0301",
        "zum Beispiel",
    ]
    for text, (language, confidence) in zip(texts, measure(Language(), texts), strict=True):
        expected = theirs.classify(text)
        assert language == expected[0]
        assert confidence == pytest.approx(expected[1], rel=1e-3)


def test_known_languages_and_unknown() -> None:
    found = measure(Language(), [*SENTENCES.values(), "", "12 + 30 = 42\n", "\U0001f600", "x"])
    assert [language for language, _ in found] == [*SENTENCES, *["unknown"] * 4]
    assert found[-1][1] == 0.0
    assert all(0 <= confidence <= 1 for _, confidence in found)


def test_restricted_to_some_languages() -> None:
    assert measure(Language(languages=["de", "fr"]), [SENTENCES["en"]])[0][0] in ("de", "fr")
    with pytest.raises(UsageError, match="xx"):
        measure(Language(languages=["xx"]), ["text"])


def test_shared_labels_are_one_language() -> None:
    model = load_model()
    assert len(set(model.labels)) == len(model.labels) <= len(model.priors)


def test_sample_is_bounded_and_spread() -> None:
    text = "é".join("abcdefghij" * 100 for _ in range(10))
    taken = sample(memoryview(text.encode()), 400)
    assert len(taken.encode()) <= 400 + 3
    assert taken.startswith(text[:100]) and taken.endswith(text[-50:])
    assert sample(memoryview(b"short"), 400) == "short"
    # One language all over but for an English first page.
    mixed = SENTENCES["en"] * 10 + SENTENCES["de"] * 400
    assert measure(Language(), [mixed])[0][0] == "de"
    assert measure(Language(sample_bytes=400), [mixed])[0][0] == "de"


def test_texts_of_thirty_languages() -> None:
    archives = [folder / "udhr2" / "udhr2.zip" for folder in data_folders()]
    archive = next((path for path in archives if path.is_file()), None)
    if archive is None:
        pytest.skip("the data set udhr2 is not on this machine")
    files = (
        "af:afr ar:arb bg:bul bn:ben ca:cat cs:ces da:dan de:deu en:eng es:spa eu:eus fi:fin "
        "fr:fra he:heb hi:hin hu:hun it:ita ja:jpn ko:kor nl:nld pl:pol pt:por_PT ru:rus sv:swe "
        "sw:swh ta:tam th:tha tr:tur vi:vie zh:cmn_hans"
    )
    wanted = [part.split(":") for part in files.split()]
    with zipfile.ZipFile(archive) as texts:
        found = measure(Language(), [texts.read(f"udhr2/{f}.txt").decode() for _, f in wanted])
    assert [language for language, _ in found] == [language for language, _ in wanted]
