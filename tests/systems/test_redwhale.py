"""Stages of redwhale: what each trains, and that its shares are the whole."""

import pytest

from tilth.systems import _continued_texts, _redwhale_texts
from tilth.systems._redwhale_arms import STAGES, _patterns
from tilth.testing.architectures import checkpoint
from tilth.zoo import tiny


@pytest.mark.parametrize(
    ("name", "table"), [("llama-untied", "embed_tokens"), ("gpt2-untied", "wte")]
)
def test_stages_train_tables_then_every_second_layer(name, table):
    model = checkpoint(name).model()
    found = {stage: _patterns(patterns, model) for stage, _, patterns in STAGES}
    assert any(table in pattern or "embed" in pattern for pattern in found["tables"])
    assert found["odd"] == ["*.1.*"] and found["even"] == ["*.0.*"]
    assert sum(share for _, share, _ in STAGES) == pytest.approx(1)


def test_no_vocabulary_learns_on_texts_that_are_held_out():
    texts = [f"text {n}" for n in range(25)]
    side_holds = len(texts) - len(_continued_texts.side(texts, tiny("causal")[1], "x").train)
    assert _redwhale_texts.held_out(texts) == side_holds == 2
