"""Does a training that was interrupted end as one that was not, bit for bit?

from tilth.testing.resume import check_resume

def test_my_objective_goes_on():
    check_resume(MyObjective(length=16))
"""

from __future__ import annotations

import copy
import tempfile
from typing import Any

from tilth.objectives.batch import Objective
from tilth.tokens.documents import TokenDocuments

STEPS, EVERY, STOP = 12, 5, 7
ROWS = 4


class Interrupted(Exception):
    """Stands for the end of a process."""


def check_resume(
    objective: Objective, *, model: Any = None, data: TokenDocuments | None = None, **options: Any
) -> None:
    """Raise AssertionError where `objective` does not go on from a checkpoint as if never stopped.

    12 steps in one go against 12 steps interrupted after the 7th and begun again from the
    checkpoint of the 5th with new objects. Weights of the model and of the objective's own modules
    and all points must be equal, bit for bit. `options` are those of `fit`.
    """
    import torch

    from tilth.testing.objectives import documents, tiny_model
    from tilth.training.loop import fit
    from tilth.training.policy import names_of

    model = tiny_model() if model is None else model
    data = documents() if data is None else data
    options = {
        "tokens": STEPS * ROWS * objective.length, "batch_tokens": ROWS * objective.length,
        "micro_batch_tokens": 2 * objective.length, "threads": 1, **options,
    }  # fmt: skip

    def run(stop: int = 0, folder: str | None = None) -> tuple[Any, dict[Any, Any]]:
        mine, own = copy.deepcopy(model), copy.deepcopy(objective)

        def on_step(point: Any) -> None:
            if point.step == stop:
                raise Interrupted

        history = fit(
            mine, own, data, checkpoint=folder, checkpoint_every=EVERY, on_step=on_step, **options
        )
        weights = {names[0]: weight.detach() for weight, names in names_of(mine, own).items()}
        return history, weights

    history, expected = run()
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(STOP, folder)
            raise AssertionError("the training was not interrupted")
        except Interrupted:
            pass
        found_history, found = run(0, folder)
        again_history, again = run(0, folder)
    assert found_history == history, "the points of an interrupted training are others"
    assert again_history == history, "a finished training did not give its history again"
    assert found.keys() == expected.keys() == again.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), f"{name} differs after an interruption"
        assert torch.equal(again[name], weight), f"{name} differs when the end is loaded"
