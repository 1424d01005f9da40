"""The one training loop: schedules, policies, stages, checkpoints, and what watches over a step.

`SCHEDULES` maps a name to a pure function of consumed tokens.
"""

SCHEDULES = {
    "constant": "tilth.training.schedules:constant",
    "cosine": "tilth.training.schedules:cosine",
    "inverse_sqrt": "tilth.training.schedules:inverse_sqrt",
    "linear": "tilth.training.schedules:linear",
    "wsd": "tilth.training.schedules:warmup_stable_decay",
}
