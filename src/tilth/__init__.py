"""tilth: from a pile of documents to a language model, a search index and a service to trust.

    import tilth
    run = tilth.build("my-documents", "my-run")
    run.search("what was agreed about the rent", k=3)

`build`, `Run` and `Corpus` are here; every method lies in its room (`tilth.signals`, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilth.build.run import Run, build
    from tilth.corpus.corpus import Corpus

__version__ = "0.1.0"
__all__ = ["Corpus", "Run", "build"]

_WHERE = {
    "Corpus": "tilth.corpus.corpus",
    "Run": "tilth.build.run",
    "build": "tilth.build.run",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that `import tilth` and the command line stay light.
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'tilth' has no attribute {name!r}")
