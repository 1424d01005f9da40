"""JSON lines of an export are those that the json module would write."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.export import _quoted


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\n\t\x00\x1f\x7f')))
def test_a_text_is_quoted_as_json_does(text: str) -> None:
    assert _quoted(text.encode("utf-8")) == json.dumps(text, ensure_ascii=False).encode("utf-8")
