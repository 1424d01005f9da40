"""An encoder from nothing, learned from pairs with the other answers of a batch as wrong ones.

    loss = - ln softmax over the batch's passages of (v(q) . v(p) / temperature)  at the right one,

and the same for each passage over the batch's queries (InfoNCE: van den Oord, Li and Vinyals, 2018;
in-batch negatives: Karpukhin et al., 2020). Passages of the query's own document are no wrong
answers: they are left out of the sum. When: a domain with words of its own, and no encoder at hand
that knows it. When not: a good general encoder is at hand; a few million tokens teach the words of
a domain, not a language.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.retrieval.encoders.pairs import Pair
from tilth.tokens.documents import TokenDocuments
from tilth.types import Progress, silent

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

TEMPERATURE = 0.05
# Pairs of a step: the more, the more wrong answers each query has.
BATCH, SMALLEST_BATCH = 256, 8
FEWEST_STEPS = 10
# Tokens of a query and of a passage that are looked at in training.
QUERY_TOKENS, PASSAGE_TOKENS = 48, 256
# Peak rates: vectors that are added up take a much larger one than layers of attention.
RATES = {"static": 0.02, "transformer": 1e-3}


class InBatch:
    """The objective of this module. A row is a pair; `length` tokens of it are its share."""

    name = "in_batch"
    version = 1

    def __init__(self, *, temperature: float = TEMPERATURE) -> None:
        self.temperature = temperature
        self.length = QUERY_TOKENS + PASSAGE_TOKENS

    def parameters(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """`query` and `passage` tokens, -1 behind their ends, and the number of the document."""
        sizes = documents.extra["query_tokens"]
        query = np.full((len(documents), QUERY_TOKENS), -1, np.int32)
        passage = np.full((len(documents), PASSAGE_TOKENS), -1, np.int32)
        for row, (tokens, size) in enumerate(zip(documents.tokens, sizes)):
            query[row, :size] = tokens[:size]
            passage[row, : len(tokens) - size] = tokens[size:]
        owner = np.array(documents.extra["document"], np.int64)
        return Batch({"query": query, "passage": passage, "document": owner})

    def loss(self, model: Any, batch: Batch) -> Loss:
        """The mean of both directions, summed over the pairs, in nats."""
        import torch
        import torch.nn.functional as F

        queries, passages = (text_vectors(model, batch[name]) for name in ("query", "passage"))
        products = queries @ passages.T / self.temperature
        owner = torch.from_numpy(batch["document"])
        own = (owner[:, None] == owner) & ~torch.eye(len(owner), dtype=torch.bool)
        products = products.masked_fill(own, -torch.inf)
        right = torch.arange(len(owner))
        there = F.cross_entropy(products, right, reduction="sum")
        back = F.cross_entropy(products.T, right, reduction="sum")
        return Loss((there + back) / 2, {}, len(owner))


def text_vectors(model: Any, rows: np.ndarray) -> torch.Tensor:
    """Unit vectors (texts, dimensions) of rows of tokens, -1 behind their ends."""
    import torch
    import torch.nn.functional as F

    from tilth.retrieval.encoders.transformer import hidden_states, pooled

    real = rows >= 0
    flat = torch.from_numpy(rows[real].astype(np.int64))
    lengths = torch.from_numpy(real.sum(axis=1))
    if hasattr(model, "means"):
        found = model.means(flat, lengths)
    else:
        found = pooled(hidden_states(model, flat, lengths), lengths)
    return F.normalize(found, dim=-1)


def train_encoder(
    pairs: Sequence[Pair],
    tokenizer: Tokenizer,
    *,
    dimensions: int = 128,
    layers: int = 0,
    seed: int = 0,
    threads: int | None = None,
    files: dict[str, bytes] | None = None,
    progress: Progress = silent,
) -> Any:
    """A `Static` encoder (no layers) or a `Transformer` that has seen each pair once.

    `files`: the tokenizer's, to lie beside the weights. Raises DataError where there are too few
    pairs for `FEWEST_STEPS` steps.
    """
    from tilth.retrieval.encoders.static import Static
    from tilth.retrieval.encoders.transformer import Transformer
    from tilth.training.loop import fit

    data = token_pairs(pairs, tokenizer)
    batch = min(BATCH, max(SMALLEST_BATCH, len(data) // FEWEST_STEPS))
    if len(data) < FEWEST_STEPS * batch:
        raise DataError(
            f"{len(data):,} pairs of sentence and passage are too few to train an encoder on "
            f"(fewer than {FEWEST_STEPS * batch})",
            hint="give an encoder, or leave the dense index out",
        )
    model = _model(data.vocabulary, dimensions, layers, seed)
    objective = InBatch()
    fit(
        model, objective, data, tokens=len(data) // batch * batch * objective.length,
        batch_tokens=batch * objective.length, micro_batch_tokens=batch * objective.length,
        learning_rate=RATES["transformer" if layers else "static"], schedule="linear",
        weight_decay=0.0, seed=seed, threads=threads, progress=progress,
    )  # fmt: skip
    if layers:
        return Transformer(model, tokenizer, longest=PASSAGE_TOKENS, special=False, files=files)
    return Static(model.embedding.weight.detach().numpy(), tokenizer, files=files)


def _model(vocabulary: int, dimensions: int, layers: int, seed: int) -> Any:
    if not layers:
        from tilth.retrieval.encoders.static_model import build

        return build(vocabulary, dimensions, seed)
    from tilth.models.encoders import build_shape

    made = build_shape(
        dimensions, layers, vocabulary=vocabulary, context=PASSAGE_TOKENS, kind="bert", seed=seed
    )
    return made.base_model


def token_pairs(pairs: Sequence[Pair], tokenizer: Tokenizer) -> TokenDocuments:
    """Pairs as token documents: the query's tokens, then the passage's, each cut to its length."""
    from tilth.tokens.bpe import encode, end_id

    queries = encode(tokenizer, [pair.query for pair in pairs])
    passages = encode(tokenizer, [pair.passage for pair in pairs])
    ids, rows = [], []
    extra: dict[str, list[Any]] = {"query_tokens": [], "document": []}
    for number, (query, passage) in enumerate(zip(queries, passages)):
        if query and passage:
            query, passage = query[:QUERY_TOKENS], passage[:PASSAGE_TOKENS]
            ids.append(str(number))
            rows.append(np.array(query + passage, np.uint32))
            extra["query_tokens"].append(len(query))
            extra["document"].append(pairs[number].document)
    return TokenDocuments(ids, rows, tokenizer.get_vocab_size(), end_id(tokenizer), extra=extra)
