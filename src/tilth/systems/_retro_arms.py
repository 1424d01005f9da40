"""The arms of the system `retro`: models of like size, what they read beside the text, scores."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.evaluation.card import Measured, Ratio
from tilth.models import decoder, retro
from tilth.models.decoder import count_parameters
from tilth.objectives.batch import Draws
from tilth.objectives.retrieved import Retrieved
from tilth.retrieval.chunks import shuffled, without
from tilth.systems._rates import TUNING_SEED
from tilth.systems._retro_texts import Inputs
from tilth.training.loop import fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

BITS = "bits per byte"
FACTS = "facts that only the database knows"
NEAR_COPIES = "documents left out, near copies of held-out ones"
ROWS = 64


def objective(inputs: Inputs) -> Retrieved:
    return Retrieved(length=inputs.length, chunk=inputs.chunk, most=1, tokens=2 * inputs.chunk)


def build(inputs: Inputs, kind: str, seed: int) -> PreTrainedModel:
    """A RETRO of the size of the settings, or a GPT of as many parameters: it has more layers."""
    data, options = inputs.train, inputs.options
    given = {"vocabulary": data.vocabulary, "context": inputs.length, "end": data.end}
    made = retro.build(
        options["size"], chunk=inputs.chunk, seed=seed, encoder_layers=options["encoder_layers"],
        retrieval_layers=options["retrieval_layers"], **given,
    )  # fmt: skip
    if kind == "RETRO":
        return made
    import torch
    from transformers import LlamaForCausalLM

    config = decoder.config_for(options["size"], **given)
    width, vocabulary = config.hidden_size, config.vocab_size
    bare = decoder.parameters_of(width, 0, vocabulary)
    layer = decoder.parameters_of(width, 1, vocabulary) - bare
    config.num_hidden_layers = round((count_parameters(made) - bare) / layer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


@functools.lru_cache(maxsize=2)
def _cached(key: Any, kind: str, seed: int) -> Any:
    """RETRO and GPT of a seed as they were trained: two arms look at each."""
    return _train(key.inputs, kind, seed, _rate(key.inputs, kind))


class _Key:
    """Inputs by identity: they do not change and need no digest."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def __hash__(self) -> int:
        return id(self.inputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.inputs is self.inputs


def _rate(inputs: Inputs, kind: str) -> float:
    """The best rate of a kind of model, on texts that are not trained on nor tested."""

    def bits(rate: float) -> float:
        model, _ = _train(inputs, kind, TUNING_SEED, rate)
        data = shuffled(inputs.tuning, TUNING_SEED) if kind == "random" else inputs.tuning
        return float(document_bits(model, objective(inputs), data).sum() / sum(data.sizes))

    options = inputs.options
    key = (kind, *((name, str(value)) for name, value in sorted(options.items())))
    return inputs.chosen.rate(key, options["rates"], bits)


def _train(
    inputs: Inputs, kind: str, seed: int, rate: float
) -> tuple[PreTrainedModel, dict[str, Any]]:
    options = inputs.options
    data = shuffled(inputs.train, seed) if kind == "random" else inputs.train
    model = build(inputs, "GPT" if kind == "GPT" else "RETRO", seed)
    history = fit(
        model, objective(inputs), data, tokens=options["tokens"],
        batch_tokens=options["batch_tokens"], micro_batch_tokens=options["batch_tokens"],
        learning_rate=rate, schedule="wsd", seed=seed, threads=1,
    )  # fmt: skip
    return model, history.plan


def arm(kind: str, reads: str) -> Callable[[Inputs, int], Measured]:
    """Train `kind` (`RETRO`, `GPT` or `random`) and score it while it reads `reads`.

    `found` neighbours, `random` ones, `none`, or for facts the evidence in the `prompt`.
    """

    def measure(inputs: Inputs, seed: int) -> Measured:
        rate = _rate(inputs, kind)
        if kind == "random":
            model, plan = _train(inputs, kind, seed, rate)
        else:
            model, plan = _cached(_Key(inputs), kind, seed)
        change = {"random": lambda data: shuffled(data, seed), "none": without}.get(reads)
        change = change or (lambda data: data)
        found: dict[str, Any] = {}
        scored = objective(inputs)
        if reads != "prompt":
            for name, data in (("", inputs.real), (", near-duplicates kept", inputs.kept)):
                bits = document_bits(model, scored, change(data))
                found[BITS + name] = Ratio(bits, np.array(data.sizes, float))
            bits = found[BITS].numerators
            for kind_ in sorted(set(inputs.kinds)):
                at = np.array(inputs.kinds) == kind_
                found[f"{BITS}, {kind_}"] = Ratio(bits[at], found[BITS].denominators[at])
            found[FACTS] = right_answers(model, scored, change(inputs.facts), inputs.answers)
        else:
            found[FACTS] = right_answers(model, scored, *prompted(inputs))
        found |= {"learning rate": rate, NEAR_COPIES: inputs.near_copies}
        parameters = count_parameters(model)
        return Measured(found, tokens=plan["tokens"], flops=plan["flops"], parameters=parameters,
                        products={"parameters": parameters})  # fmt: skip

    return measure


def document_bits(model: PreTrainedModel, scored: Retrieved, data: TokenDocuments) -> np.ndarray:
    """Bits of each document but its first token, its end counted, float64.

    Windows of a row's length move on by half of it, in whole chunks; what is new in each counts.
    """
    step = max(scored.chunk, scored.length // 2 // scored.chunk * scored.chunk)
    rows, targets, near, owners = [], [], [], []
    for number, tokens in enumerate(data.tokens):
        framed = np.concatenate([tokens.astype(np.int64), [data.end]])
        found = data.extra["neighbours"][number]
        for start in range(0, len(tokens), step):
            size = min(scored.length, len(tokens) - start)
            row = np.full(scored.length, data.end, np.int64)
            row[:size] = framed[start : start + size]
            aim = np.full(scored.length, -1, np.int64)
            new = 0 if start == 0 else scored.length - step
            aim[new:size] = framed[start + new + 1 : start + size + 1]
            beside = np.full((scored.length // scored.chunk, *found.shape[1:]), -1, np.int64)
            part = found[start // scored.chunk :][: len(beside)]
            beside[: len(part)] = part
            rows.append(row)
            targets.append(aim)
            near.append(beside)
            owners.append(number)
            if start + size >= len(tokens):
                break
    nats = _nats(model, np.stack(rows), np.stack(targets), np.stack(near))
    bits = np.zeros(len(data))
    np.add.at(bits, owners, nats.sum(1) / math.log(2))
    return bits


def right_answers(
    model: PreTrainedModel, scored: Retrieved, data: TokenDocuments, answers: list[np.ndarray]
) -> list[float]:
    """1 for each answer token that is the most likely one, else 0."""
    import torch

    found: list[float] = []
    batch = scored.prepare(data, Draws())
    with torch.inference_mode():
        for start in range(0, len(batch), ROWS):
            part = batch.take(slice(start, start + ROWS))
            likely = _logits(model, part["ids"], part["neighbours"]).argmax(-1).cpu().numpy()
            right = likely == part["targets"]
            for row, is_answer in zip(right, answers[start : start + ROWS]):
                # The token at place p is the target of place p - 1.
                found += row[np.flatnonzero(is_answer) - 1].astype(float).tolist()
    return found


def prompted(inputs: Inputs) -> tuple[TokenDocuments, list[np.ndarray]]:
    """Facts with the best neighbour before them in the text, for a model without retrieval."""
    data, rows, answers = inputs.facts, [], []
    for tokens, found, asked in zip(data.tokens, data.extra["neighbours"], inputs.answers):
        # The introduction fills whole chunks; the last of them has the name.
        intro = int(np.flatnonzero(asked)[0]) // inputs.chunk - 1
        evidence = found[intro, 0]
        evidence = evidence[evidence >= 0].astype(np.uint32)
        bare = int(np.flatnonzero(tokens != data.end)[0])
        rows.append(np.concatenate([evidence, tokens[bare:]])[: inputs.length])
        answers.append(np.concatenate([np.zeros(len(evidence), bool), asked[bare:]]))
    return replace(data, tokens=rows, extra={}), answers


def _logits(model: PreTrainedModel, ids: np.ndarray, neighbours: np.ndarray) -> Any:
    import torch

    rows = torch.from_numpy(ids.astype(np.int64)).to(model.device)
    if model.config.model_type != "tilth-retro":
        return model(input_ids=rows, use_cache=False).logits
    near = torch.from_numpy(neighbours.astype(np.int64)).to(model.device)
    return model(input_ids=rows, neighbours=near, use_cache=False).logits


def _nats(
    model: PreTrainedModel, rows: np.ndarray, targets: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """Cross-entropy of each target, 0 where there is none, float64."""
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), ROWS):
            part = slice(start, start + ROWS)
            logits = _logits(model, rows[part], near[part]).float()
            aims = torch.from_numpy(targets[part]).to(logits.device)
            nats = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), aims.flatten(), reduction="none", ignore_index=-1
            )
            found.append(nats.view(aims.shape).double().cpu().numpy())
    return np.concatenate(found)
