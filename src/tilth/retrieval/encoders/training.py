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

from tilth.errors import DataError, UsageError
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
LEARNING_RATE = 1e-3  # of layers of attention
# Rate times steps of vectors that are added up: a step of Adam moves each by about its rate, and
# those that move further than their length forget which words they were.
REACH = 0.15
# Of Arora, Liang and Ma (2017): the vector of a token with the share p of all begins with the
# length a / (a + p). A build of the Python installation then had nDCG@10 0.13 on its known items;
# with equal lengths, a rate of 0.02 and half the dimensions it had 0.08.
SMOOTHING = 1e-3


class InBatch:
    """The objective of this module. A row is a group of `group` pairs, the wrong answers in it too.

    Documents are pairs (see `token_pairs`); groups are drawn anew each epoch. Arrays: `query` and
    `passage` (rows, group, tokens), -1 behind their ends, `document` (rows, group). What fills no
    group is dropped and counted. As `objectives.contrastive`, but for texts of two lengths whose
    documents are known.
    """

    name = "in-batch"
    version = 1

    def __init__(self, *, group: int = BATCH, temperature: float = TEMPERATURE) -> None:
        if group < 2 or temperature <= 0:
            raise UsageError("groups of 2 pairs and a temperature above 0 are least")
        self.group, self.temperature = group, temperature
        self.length = group * (QUERY_TOKENS + PASSAGE_TOKENS)
        # The longest text that a model has to take.
        self.segment = PASSAGE_TOKENS

    def parameters(self) -> dict[str, Any]:
        return {"group": self.group, "temperature": self.temperature}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of `group` pairs, in an order of their own draws."""
        keys = [rng.at(name).random() for name in documents.ids]
        order = sorted(range(len(documents)), key=lambda number: keys[number])
        rows = len(order) // self.group
        query = np.full((rows * self.group, QUERY_TOKENS), -1, np.int32)
        passage = np.full((rows * self.group, PASSAGE_TOKENS), -1, np.int32)
        owner = np.zeros(rows * self.group, np.int64)
        for place, number in enumerate(order[: len(owner)]):
            tokens = documents.tokens[number]
            size = documents.extra["query_tokens"][number]
            query[place, :size] = tokens[:size]
            passage[place, : len(tokens) - size] = tokens[size:]
            owner[place] = documents.extra["document"][number]
        dropped = sum(len(documents.tokens[number]) for number in order[len(owner) :])
        arrays = {"query": query, "passage": passage, "document": owner}
        shaped = {name: a.reshape(rows, self.group, *a.shape[1:]) for name, a in arrays.items()}
        return Batch(shaped, dropped)

    def loss(self, model: Any, batch: Batch) -> Loss:
        """The mean of both directions, summed over the pairs, in nats."""
        import torch
        import torch.nn.functional as F

        queries, passages = (text_vectors(model, batch[name]) for name in ("query", "passage"))
        products = queries @ passages.transpose(1, 2) / self.temperature
        owner = torch.from_numpy(batch["document"])
        same = owner[:, :, None] == owner[:, None]
        own = same & ~torch.eye(self.group, dtype=torch.bool)
        products = products.masked_fill(own, -torch.inf)
        right = torch.arange(self.group).repeat(len(batch))
        there = F.cross_entropy(products.flatten(0, 1), right, reduction="sum")
        back = F.cross_entropy(products.transpose(1, 2).flatten(0, 1), right, reduction="sum")
        return Loss((there + back) / 2, {}, len(right))


def text_vectors(model: Any, rows: np.ndarray) -> torch.Tensor:
    """Unit vectors (rows, group, dimensions) of texts (rows, group, tokens), -1 at their ends."""
    import torch
    import torch.nn.functional as F

    from tilth.retrieval.encoders.transformer import hidden_states, pooled

    texts = rows.reshape(-1, rows.shape[-1])
    real = texts >= 0
    flat = torch.from_numpy(texts[real].astype(np.int64))
    lengths = torch.from_numpy(real.sum(axis=1))
    if hasattr(model, "means"):
        found = model.means(flat, lengths)
    else:
        found = pooled(hidden_states(model, flat, lengths), lengths)
    return F.normalize(found, dim=-1).view(*rows.shape[:-1], -1)


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

    `files`: the tokenizer's, to lie beside the weights. Its `cut_tokens` are those of the pairs
    that it did not see. Raises DataError where there are too few pairs for `FEWEST_STEPS` steps.
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
    steps = len(data) // batch
    model = _model(data, dimensions, layers, seed)
    objective = InBatch(group=batch)
    fit(
        model, objective, data, tokens=steps * objective.length,
        batch_tokens=objective.length, micro_batch_tokens=objective.length,
        learning_rate=LEARNING_RATE if layers else REACH / steps, schedule="linear",
        weight_decay=0.0, seed=seed, threads=threads, progress=progress,
    )  # fmt: skip
    made: Any
    if layers:
        made = Transformer(model, tokenizer, longest=PASSAGE_TOKENS, files=files)
    else:
        made = Static(model.embedding.weight.detach().numpy(), tokenizer, files=files)
    made.cut_tokens = sum(data.extra["cut"])
    return made


def _model(data: TokenDocuments, dimensions: int, layers: int, seed: int) -> Any:
    if not layers:
        import torch

        from tilth.retrieval.encoders.static_model import build

        made = build(data.vocabulary, dimensions, seed)
        counts = np.bincount(np.concatenate(data.tokens), minlength=data.vocabulary)
        lengths = SMOOTHING / (SMOOTHING + counts / counts.sum())
        with torch.no_grad():
            made.embedding.weight.mul_(torch.from_numpy(lengths.astype(np.float32))[:, None])
        return made
    from tilth.models.encoders import build_shape

    made = build_shape(
        dimensions, layers, vocabulary=data.vocabulary, context=PASSAGE_TOKENS, kind="bert",
        seed=seed,
    )  # fmt: skip
    return made.base_model


def token_pairs(pairs: Sequence[Pair], tokenizer: Tokenizer) -> TokenDocuments:
    """Pairs as token documents: the query's tokens, then the passage's, each cut to its length.

    `extra`: of each pair the tokens of the query, its document, and the tokens that were `cut`.
    """
    from tilth.tokens.bpe import encode, end_id

    queries = encode(tokenizer, [pair.query for pair in pairs])
    passages = encode(tokenizer, [pair.passage for pair in pairs])
    ids, rows = [], []
    extra: dict[str, list[Any]] = {"query_tokens": [], "document": [], "cut": []}
    for number, (query, passage) in enumerate(zip(queries, passages)):
        if query and passage:
            whole = len(query) + len(passage)
            query, passage = query[:QUERY_TOKENS], passage[:PASSAGE_TOKENS]
            ids.append(str(number))
            rows.append(np.array(query + passage, np.uint32))
            extra["query_tokens"].append(len(query))
            extra["document"].append(pairs[number].document)
            extra["cut"].append(whole - len(query) - len(passage))
    return TokenDocuments(ids, rows, tokenizer.get_vocab_size(), end_id(tokenizer), extra=extra)
