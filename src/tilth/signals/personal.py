"""How much personal data a document holds, by kind (as Subramani et al. 2023 survey it).

Counted by the detectors that the transform `personal` masks with: see
`tilth.corpus.transforms.personal_detectors` for what counts. Use it to see where masking is needed
and to leave out documents that are lists of people. A count of 0 does not mean anonymous.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.corpus.transforms.personal import checked_kinds
from tilth.corpus.transforms.personal_detectors import KINDS, find


class PersonalData:
    """Columns `personal_email`, `personal_phone`, ... (counts) and `personal_total`.

    `kinds` restricts the total; kinds that are not among them count 0.
    """

    name = "personal_data"
    version = 1
    columns: ClassVar[dict[str, int]] = {
        **{f"personal_{kind}": -1 for kind in KINDS},
        "personal_total": -1,
    }

    def __init__(self, *, kinds: Sequence[str] = ()) -> None:
        self.kinds = checked_kinds(kinds)

    def parameters(self) -> dict[str, Any]:
        return {"kinds": list(self.kinds)}

    def fit(self, batches: Iterable[pa.RecordBatch]) -> PersonalData:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        counts = np.zeros((batch.num_rows, len(KINDS)), dtype=np.int64)
        for row, items in find(batch.column("text"), self.kinds).items():
            for item in items:
                counts[row, KINDS.index(item.kind)] += 1
        columns = [*counts.T, counts.sum(axis=1)]
        return pa.RecordBatch.from_arrays(
            [pa.array(np.ascontiguousarray(column)) for column in columns], list(self.columns)
        )
