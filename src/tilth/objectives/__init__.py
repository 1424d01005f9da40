"""Objectives: how documents become rows, and rows become a loss. A literal table names them."""

OBJECTIVES = {
    "causal": "tilth.objectives.causal:Causal",
    "masked": "tilth.objectives.masked:Masked",
}
# Of labelled tasks, by kind.
TASK_OBJECTIVES = {
    "classify": "tilth.objectives.tasks:Classify",
    "multilabel": "tilth.objectives.tasks:MultiLabel",
    "tag": "tilth.objectives.tasks:Tag",
    "choose": "tilth.objectives.tasks:Choose",
    "pair": "tilth.objectives.tasks:Pair",
    "bag": "tilth.objectives.bag:Bag",
    "regress": "tilth.objectives.tasks:Regress",
}
