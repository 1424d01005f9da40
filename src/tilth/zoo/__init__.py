"""Micro models that every two-stage method starts from, built once from recipe and data.

- `model(name)`: one of the literal table `ZOO`, built on the first call and kept in the cache.
- `tokens(name, split)`: its training or held-out text in its own tokens.
- `find(name)`: what is built already, or None.
- `tiny(kind)`: random weights for smoke runs and tests, made in the process in a moment.
"""

from tilth.zoo.build import ZooModel, find, model, tokens
from tilth.zoo.micro import tiny
from tilth.zoo.table import ZOO, Recipe

__all__ = ["ZOO", "Recipe", "ZooModel", "find", "model", "tiny", "tokens"]
