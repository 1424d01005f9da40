"""Cheap text scorers: texts to one number each, milliseconds a document; a literal table.

A scorer is a class with

- `direction`: +1 where a higher score means more like the texts that it was fitted on (or like
  the positive class), -1 where a lower one does;
- `fit(texts, labels=None)`: learn and return itself; labels are true for the positive class;
- `score(texts)`: float64, one finite number a text, the same for a text alone or among others;
- `parameters()`: its options as JSON values; `version`, raised when its numbers change;
- `save(folder)`, and `load(folder)` of the class: JSON and raw arrays, never pickle.

| name | learns from | use it |
| --- | --- | --- |
| `ngram` | one class or two | where only texts of one kind are there |
| `linear` | two classes | where labels are there: fastest, usually best |
| `centroid` | unlabelled texts and seed words | where a domain team knows its words, not labels |

`folder` saves a fitted scorer with its calibration and opens any of them; `texts` reads training
text; `tilth.signals.threshold` chooses where to cut.
"""

SCORERS = {
    "centroid": "tilth.signals.scorers.centroid:Centroid",
    "linear": "tilth.signals.scorers.linear:Linear",
    # A later room; the name is resolved when a scorer is made, never imported here.
    "ngram": "tilth.models.ngram_scorer:NGramScorer",
}
