"""Objectives: how documents become rows, and rows become a loss. A literal table names them."""

OBJECTIVES = {"causal": "tilth.objectives.causal:Causal"}
