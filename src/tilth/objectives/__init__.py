"""Batches to losses. `OBJECTIVES` maps a name to its class."""

OBJECTIVES = {"causal": "tilth.objectives.causal:Causal"}
