"""tilth: from a pile of documents to a language model, a search index and a service to trust.

    from tilth.build import build

    run = build("my-documents", "my-run")
    run.search("what was agreed about the rent", k=3)

Every method lies in its room: `tilth.corpus`, `tilth.signals`, `tilth.retrieval`, ...
"""

import os

# Threads of torch that wait for each other spin, and starve where another program needs a core:
# training was up to a hundred times slower. A short spin costs nothing on a quiet machine. It is
# read when torch is loaded, and a setting of the user's stays.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
