"""Language identification: agrees with py3langid, on bounded samples."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tilth.errors import UsageError
from tilth.signals.language import Language, load_model, sample

SENTENCES = {
    "en": "The old house at the end of the road had been empty for more than twenty years.",
    "de": "Das alte Haus am Ende der Stra\u00dfe stand seit mehr als zwanzig Jahren leer.",
    "fr": "La vieille maison au bout de la rue \u00e9tait vide depuis plus de vingt ans.",
    "ru": "\u0421\u0442\u0430\u0440\u044b\u0439 \u0434\u043e\u043c \u0432 \u043a\u043e\u043d\u0446\u0435 \u0434\u043e\u0440\u043e\u0433\u0438 \u043f\u0443\u0441\u0442\u043e\u0432\u0430\u043b \u0434\u0432\u0430\u0434\u0446\u0430\u0442\u044c \u043b\u0435\u0442.",
    "ja": "\u9053\u306e\u7a81\u304d\u5f53\u305f\u308a\u306e\u53e4\u3044\u5bb6\u306f\u4e8c\u5341\u5e74\u4ee5\u4e0a\u7a7a\u304d\u5bb6\u3060\u3063\u305f\u3002",
}


def measure(signal: Language, texts: list[str]) -> list[tuple[str, float]]:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])
    return [tuple(row.values()) for row in signal.measure(batch).to_pylist()]


def test_agrees_with_py3langid() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    theirs = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [*SENTENCES.values(), *map(str.upper, SENTENCES.values()), "caf\u00e9 e\u0301", "zum Beispiel"]
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
    model = load_model(())
    assert len(set(model.labels)) == len(model.labels) <= len(model.priors)


def test_sample_is_bounded_and_spread() -> None:
    text = "\u00e9".join("abcdefghij" * 100 for _ in range(10))
    taken = sample(memoryview(text.encode()), 400)
    assert len(taken.encode()) <= 400 + 3
    assert taken.startswith(text[:100]) and taken.endswith(text[-50:])
    assert sample(memoryview(b"short"), 400) == "short"
    # One language all over but for an English first page.
    mixed = SENTENCES["en"] * 10 + SENTENCES["de"] * 400
    assert measure(Language(), [mixed])[0][0] == "de"
    assert measure(Language(sample_bytes=400), [mixed])[0][0] == "de"
