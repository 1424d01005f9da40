"""The system olmo2: problems that are not told, what counts as an answer, junk, the early stop."""

import copy
import math

import numpy as np
import torch

from tilth.systems import _arithmetic as arithmetic
from tilth.systems._olmo2_arms import souped, stopped_early
from tilth.systems._olmo2_texts import with_junk
from tilth.tokens.documents import TokenDocuments
from tilth.training.schedules import cosine
from tilth.zoo import tiny


def test_no_problem_is_asked_that_was_told():
    told = arithmetic.problems(9, held_out=False)
    asked = arithmetic.problems(9, held_out=True)
    assert len(told) + len(asked) == 3 * (100 + 55) and 20 < len(asked) < 80
    lines = "".join(arithmetic.text(told, 0, 400))
    assert lines.count("\n") == 400 and not any(problem.prompt in lines for problem in asked)
    for problem in told:
        a, sign, b = (
            problem.prompt.removeprefix("What is").removeprefix("Q:").split("?")[0].split()[:3]
        )
        assert int(problem.answer) == (int(a) + int(b) if sign == "+" else int(a) - int(b))


class Oracle:
    """Thinks the next token of a known text likeliest; or another one."""

    def __init__(self, size, wrong=()):
        self.size, self.wrong, self.rows = size, wrong, 0

    def __call__(self, input_ids):
        self.rows += len(input_ids)
        logits = torch.zeros(*input_ids.shape, self.size)
        # It is shown all but the last token, which is the line end.
        following = torch.cat([input_ids[:, 1:], torch.full((len(input_ids), 1), self.last)], 1)
        logits.scatter_(2, following[..., None], 1.0)
        return type("Answer", (), {"logits": logits})


def test_an_answer_counts_where_all_its_tokens_are_likeliest():
    _, tokenizer, documents = tiny("causal")
    asked = arithmetic.problems(4, held_out=True)
    oracle = Oracle(tokenizer.get_vocab_size())
    oracle.last = tokenizer.encode("7\n").ids[-1]
    assert arithmetic.right(oracle, tokenizer, asked, documents.end).tolist() == [1.0] * len(asked)
    oracle.last = tokenizer.encode("a").ids[0]
    assert arithmetic.right(oracle, tokenizer, asked, documents.end).sum() == 0


def test_junk_is_a_share_of_the_tokens_and_repeats():
    rows = [np.arange(1, 200, dtype=np.uint16)] * 50
    text = TokenDocuments([str(n) for n in range(50)], rows, 300, sizes=[199] * 50)
    rough = with_junk(text, 0.05, seed=0)
    junk = rough.tokens[50:]
    share = sum(map(len, junk)) / rough.total_tokens
    assert 0.05 <= share < 0.09 and len(rough.ids) == len(set(rough.ids)) == len(rough.sizes)
    for row in junk:
        size = len(row) // 32
        assert len(row) == 32 * size and size <= 13 and (row.reshape(32, size) == row[:size]).all()


def test_the_first_stage_stops_before_its_rate_has_fallen():
    assert math.isclose(stopped_early(100.0, 100.0), cosine(100.0, 125.0))
    assert 0.05 < stopped_early(100.0, 100.0) < 0.15 and stopped_early(50.0, 100.0) > 0.5


def test_a_soup_is_the_mean():
    model, _, _ = tiny("causal")
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.norm.weight.mul_(3.0)
    made = souped(model, [model, other])
    assert torch.allclose(made.model.norm.weight, 2 * model.model.norm.weight)
    assert torch.equal(made.lm_head.weight, model.lm_head.weight)
