"""Export: texts are written as JSON has them, whatever they hold."""

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.export import _as_json

CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\n\t\x00\x1f\x7f')


@given(st.lists(st.text(CHARACTERS), min_size=1))
def test_texts_are_written_as_json_does(texts: list[str]) -> None:
    written = _as_json(pa.array(texts, pa.large_string()), "text")
    expected = [json.dumps(text, ensure_ascii=False).encode("utf-8") for text in texts]
    assert [b'"%b"' % value for value in written] == expected
