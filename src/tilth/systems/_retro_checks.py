"""What must hold exactly in the system `retro`, whatever is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tilth.evaluation.card import Invariant, Measured
from tilth.models import decoder, retro
from tilth.models.chunked_attention import group_of
from tilth.systems._retro_sides import copied
from tilth.systems._retro_texts import Inputs

VOCABULARY, CHUNK, LENGTH = 300, 4, 14


def model_invariants() -> Iterable[Invariant]:
    """Zero output, causality by gradient, masking, decoding in pieces; on a tiny random model."""
    import torch

    chance = torch.Generator().manual_seed(0)
    text = torch.randint(1, VOCABULARY, (1, LENGTH), generator=chance)
    near = torch.randint(1, VOCABULARY, (1, LENGTH // CHUNK, 2, 2 * CHUNK), generator=chance)
    plain = decoder.build("50k", vocabulary=VOCABULARY, context=32)
    with torch.inference_mode():
        silent = retro.add_retrieval(plain, chunk=CHUNK)
        same = torch.equal(silent(text, near).logits, plain(text).logits)
    yield Invariant("with the new output at 0 logits are the decoder's bit for bit", same)
    model = retro.add_retrieval(plain, chunk=CHUNK, silent=False)
    yield Invariant("no logit depends on later tokens or on neighbours not yet found",
                    _causal(model, text, near))  # fmt: skip
    with torch.inference_mode():
        none = model(text, torch.full_like(near, -1)).logits
        masked = torch.equal(none, model.decoder(text).logits)
        whole, parts, state = model(text, near).logits, [], None
        for place in range(LENGTH):
            ended = (place + 1) % CHUNK == 0
            given = near[:, [place // CHUNK]] if ended else None
            answer = model(text[:, [place]], given, past_key_values=state, use_cache=True)
            state = answer.past_key_values
            parts.append(answer.logits)
        equal = torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
    yield Invariant("missing neighbours are masked", masked)
    yield Invariant("token by token equals the whole within 1e-5", equal)


def _causal(model: retro.RetroForCausalLM, text: object, near: object) -> bool:
    """Gradients of each logit by the embeddings of the text and of each chunk's neighbours."""
    kept = []

    def keep(module: object, args: object, output: object) -> None:
        output.retain_grad()
        kept.append(output)

    handle = model.get_input_embeddings().register_forward_hook(keep)
    good = True
    try:
        for place in range(LENGTH):
            kept.clear()
            model(text, near).logits[0, place].square().sum().backward()
            # The text is embedded first, (1, length, width), then neighbours (chunks, k, r, width).
            tokens, passages = kept[0].grad.abs().sum(-1)[0], kept[1].grad
            good = good and bool((tokens[place + 1 :] == 0).all())
            for chunk in range(LENGTH // CHUNK):
                seen = passages is not None and float(passages[chunk].abs().sum()) > 0
                may = place >= (chunk + 1) * CHUNK - 1
                good = good and may >= seen and (seen or group_of(place, CHUNK) != chunk)
            model.zero_grad()
    finally:
        handle.remove()
    return good


def text_invariants(inputs: Inputs) -> Iterable[Invariant]:
    """What lies in the database, and what was given as a neighbour."""
    database = inputs.database
    owners = {value.tobytes(): set() for value in database.values}
    for value, owner in zip(database.values, database.owners):
        owners[value.tobytes()].add(database.ids[owner])
    apart = True
    for name, column in zip(inputs.train.ids, inputs.train.extra["neighbours"]):
        for value in np.concatenate(column):
            apart = apart and ((value < 0).all() or owners[value.tobytes()] != {name})
    yield Invariant("no chunk is given its own document", apart)
    stored = {row.tobytes() for row in database.values}
    tests = [row[: 2 * inputs.chunk].astype(np.int32).tobytes() for row in inputs.real.tokens]
    yield Invariant("no test document lies in the database", not stored & set(tests))
    known, tested = (
        [database.text(row) for row in side.tokens] for side in (inputs.train, inputs.real)
    )
    yield Invariant("nor does a near copy of one", not copied(tested, known))
    told = {row.astype(np.int32).tobytes() for row in inputs.train.tokens}
    asked = {row.astype(np.int32).tobytes() for row in inputs.facts.tokens}
    yield Invariant("no fact that is asked for was trained on", not told & asked)


def arm_invariants(measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    sizes = [measured[name].products["parameters"] for name in ("RETRO", "GPT")]
    yield Invariant("GPT has RETRO's parameters within 10 %", abs(sizes[0] / sizes[1] - 1) < 0.1)
