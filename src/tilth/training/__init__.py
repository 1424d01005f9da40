"""The one training loop, its schedules, the order of its rows and the learning curve.

`SCHEDULES` maps a name to a pure function of consumed tokens.
"""

SCHEDULES = {
    "constant": "tilth.training.schedules:constant",
    "cosine": "tilth.training.schedules:cosine",
    "linear": "tilth.training.schedules:linear",
    "wsd": "tilth.training.schedules:warmup_stable_decay",
}
