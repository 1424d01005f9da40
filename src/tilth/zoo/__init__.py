"""Micro models that every two-stage method starts from, built once from (code, data, recipe).

`tiny(kind)` is for smoke runs and tests: random weights, made in the process in a moment.
"""

from tilth.zoo.micro import tiny

__all__ = ["tiny"]
