"""Layers of documents, what is measured on them, and which are kept.

`EXECUTORS` maps a name to the class that maps a function over blocks.
"""

EXECUTORS = {"local": "tilth.corpus.executors:LocalExecutor"}
