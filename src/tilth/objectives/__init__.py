"""Objectives: how documents become rows, and rows become a loss. A literal table names them."""

OBJECTIVES = {
    "causal": "tilth.objectives.causal:Causal",
    "contrastive": "tilth.objectives.contrastive:Contrastive",
    "distil": "tilth.objectives.distil:Distil",
    "instruct": "tilth.objectives.instruct:Instruct",
    "masked": "tilth.objectives.masked:Masked",
    "replaced": "tilth.objectives.replaced:Replaced",
    "retrieved": "tilth.objectives.retrieved:Retrieved",
    "sentences": "tilth.objectives.sentences:Sentences",
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
# Of what a model made itself, see `training.rollouts`.
ROLLOUT_OBJECTIVES = {
    "policy-gradient": "tilth.objectives.policy_gradient:PolicyGradient",
    "preference": "tilth.objectives.preference:Preference",
}
