"""Linear probes: is something in a model's hidden states, so that a line can read it off?

Alain and Bengio (2017): the states of one layer, averaged over a text's tokens (or those of the
first one), standardised, and a logistic regression on them. Compare with the same probe on the
layer 0, the embeddings, and on a model with random weights: what those reach the layer did not
learn (Hewitt and Liang, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.tokens.documents import TokenDocuments

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VECTORS = ("mean", "first", "last")


class Hidden(NamedTuple):
    """`vectors` (documents, width), float32; `cut`: tokens of all documents that were not read."""

    vectors: np.ndarray
    cut: int


def hidden_vectors(
    model: PreTrainedModel,
    data: TokenDocuments,
    *,
    layer: int = -1,
    vector: str = "mean",
    length: int | None = None,
    batch: int = 16,
) -> Hidden:
    """The states of a layer, 0 the embeddings, -1 the last.

    A document goes in after one end token and is cut to `length` tokens, by default the model's
    context; what is cut is counted. `vector`: of all its tokens the mean, or the first or the last
    one.
    """
    import torch

    if vector not in VECTORS:
        raise UsageError(f"vector is one of {', '.join(VECTORS)}, not {vector!r}")
    context = getattr(model.config, "max_position_embeddings", None)
    length = min(length or 512, (context or 512) - 2)
    layers = model.config.num_hidden_layers
    if not -layers - 1 <= layer <= layers:
        raise UsageError(f"there is no layer {layer}: it has {layers}, and 0 are the embeddings")
    order = np.argsort(data.lengths, kind="stable").tolist()
    found: list[Any] = [None] * len(order)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                for number, row in zip(part, _states(model, data, part, layer, vector, length)):
                    found[number] = row
    finally:
        model.train(was_training)
    empty = np.zeros((0, model.config.hidden_size), np.float32)
    cut = int(np.maximum(data.lengths - length, 0).sum())
    return Hidden(np.stack(found) if found else empty, cut)


def _states(
    model: PreTrainedModel, data: TokenDocuments, part: Sequence[int], layer: int, vector: str,
    length: int,
) -> np.ndarray:  # fmt: skip
    import torch

    rows = [np.concatenate([[data.end], data.document(n)[:length]]).astype(np.int64) for n in part]
    ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = torch.from_numpy(row), 1
    made = model.base_model(
        input_ids=ids.to(model.device), attention_mask=mask.to(model.device),
        output_hidden_states=True,
    )  # fmt: skip
    states = made.hidden_states[layer].float().cpu()
    if vector == "first":
        return states[:, 0].numpy()
    if vector == "last":
        return states[torch.arange(len(rows)), mask.sum(1) - 1].numpy()
    weights = mask[..., None].float()
    return ((states * weights).sum(1) / weights.sum(1)).numpy()


def probe(
    vectors: np.ndarray,
    labels: Sequence[str],
    test_vectors: np.ndarray,
    test_labels: Sequence[str],
    *,
    strength: float = 1.0,
) -> list[float]:
    """1 or 0 for each test text, right or wrong, of a logistic regression on the vectors.

    `strength` is scikit-learn's C. Raises DataError where there is one label only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(set(labels)) < 2:
        raise DataError("a probe needs two labels")
    made = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    made.fit(vectors, list(labels))
    return [float(one == other) for one, other in zip(made.predict(test_vectors), test_labels)]
