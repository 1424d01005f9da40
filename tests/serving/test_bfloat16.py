"""In 16 bits: how many tokens are those of transformers in 16 bits, and how many depend on the row.

Sums of 8 bits tell two tokens apart no better than to a hundredth, and many are exactly equal. So
tokens are counted (the summary shows how many), and another one is taken only where both were near.
"""

import functools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from served import GREEDY, NARROW, WIDE, engine, mixed_prompts, serve

from tilth.serving.scheduler import POLICIES

# Logits are about 1; bfloat16 has steps of 1/128 there, and each of two layers rounds several
# times.
NEAR = 0.1


@functools.cache
def alone(name, device):
    """The tokens of each prompt, and the logits of transformers behind them, both in 16 bits."""
    one = engine(name, device, "bfloat16", policy="request_level", share=False, sequences=1)
    model, found = tiny.model(name, device, "bfloat16"), []
    for prompt in mixed_prompts():
        (ids,) = serve(one, [(prompt, GREEDY)]).ids
        found.append((ids, tiny.logits(model, [*prompt, *ids])[len(prompt) - 1 : -1].float()))
    return found


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_greedy_tokens_are_mostly_those_of_transformers(name, device, agreement):
    equal = []
    for ids, rows in alone(name, device):
        for token, row in zip(ids, rows):
            equal.append(agreement.share(f"bf16, {name}", token, int(row.argmax())))
            assert row.max() - row[token] < NEAR
    assert sum(equal) >= 0.9 * len(equal)


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_tokens_hardly_depend_on_the_row(name, device, agreement):
    asked, equal = [(prompt, GREEDY) for prompt in mixed_prompts()], []
    for policy, how in [*((policy, WIDE) for policy in POLICIES), ("stall_free", NARROW)]:
        served = serve(engine(name, device, "bfloat16", policy=policy, **how), asked)
        for ids, (expected, rows) in zip(served.ids, alone(name, device)):
            for token, other, row in zip(ids, expected, rows):
                equal.append(agreement.share("bf16, as alone", token, other))
                if not equal[-1]:
                    assert abs(row[token] - row[other]) < NEAR
                    break
    assert sum(equal) >= 0.95 * len(equal)
