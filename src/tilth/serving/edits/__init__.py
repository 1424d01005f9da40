"""Caches that are edited in place of being computed: three papers over the cache's own operations.

- `pie`: a text was read and then changed; its cache follows the change.
- `cacheblend`: pieces of text were read apart; their caches become one.
- `kv_prediction`: a small model reads; the cache of the large one is predicted from what it saw.

All three give a `Reading`: a sequence in a cache and the logits of its last token, from which
`answer` goes on. What they save is the reading of a prompt, never the writing of an answer; what
they give up is exactness, and each says where.
"""

from tilth.serving.edits.reading import Reading, answer

__all__ = ["Reading", "answer"]
