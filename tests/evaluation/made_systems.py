"""Systems with known truth, built by the tests: arms that are better by what was planted."""

import zlib
from types import SimpleNamespace

import numpy as np

from tilth.data.sets import Source
from tilth.evaluation.card import Card, Claim, Invariant, Measured, ModelSource, Prepared

GAIN = 0.5


def claim(method="better", **fields):
    given = {"metric": "score", "method": method, "baseline": "plain", "margin": 0.1,
             "kind": "learned", "primary": True, **fields}  # fmt: skip
    return Claim(**given)


def make(*claims, arms=None, gate=True, sound=True, log=None, **fields):
    """A system with these claims; `log` collects what was called in which order."""
    log = [] if log is None else log

    def prepare(scale, data, model, seed, *, examples=40, share=0.5, word="x", deep=False):
        log.append(("prepare", scale, seed, examples, share, word, deep))
        base = np.random.default_rng(seed).normal(0, 1, examples)
        models = (ModelSource("micro", "b" * 32, gate),)
        return Prepared(base, data=(Source("made", "a" * 32, "not stated"),), models=models)

    def arm(name, gain, tokens=1000):
        def run(inputs, seed):
            log.append((name, seed))
            own = zlib.crc32(name.encode())
            noise = np.random.default_rng([seed, own]).normal(0, 0.1, len(inputs))
            values = inputs + gain + noise
            return Measured({"score": values, "single": float(values.mean())}, tokens=tokens,
                            products={"size": len(values)})  # fmt: skip

        return run

    def broken(inputs, seed):
        return Measured({"score": np.full(len(inputs), np.nan), "single": np.nan}, tokens=1000)

    def invariants(inputs, measured):
        yield Invariant("sizes agree", measured["plain"].products["size"] == len(inputs))
        yield ("sound", sound)

    known = {
        "plain": arm("plain", 0.0),
        "better": arm("better", GAIN),
        "equal": arm("equal", 0.0),
        "worse": arm("worse", -GAIN),
        "greedy": arm("greedy", GAIN, tokens=1500),
        "broken": broken,
    }
    card = {"slug": "made", "title": "Made", "year": 2026, "family": "tests", "claim": "It helps.",
            "part": "none", **fields}  # fmt: skip
    return SimpleNamespace(
        __name__="tilth.evaluation.card", CARD=Card(**card), CLAIMS=claims or (claim(),),
        ARMS=arms or known, prepare=prepare, invariants=invariants, log=log,
    )  # fmt: skip
