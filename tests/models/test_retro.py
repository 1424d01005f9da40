"""RETRO: where chunks look, causality by gradient, zero output, decoding, folders."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Olmo2Config, Olmo2ForCausalLM

from tilth.errors import LimitError, UsageError
from tilth.models.chunked_attention import CrossAttention, group_of, groups
from tilth.models.decoder import build as build_decoder
from tilth.models.folder import load_model, save_model
from tilth.models.retro import add_retrieval, build, continue_tokens, usual_layers
from tilth.objectives.causal import Causal
from tilth.objectives.retrieved import Retrieved
from tilth.testing.objectives import check_objective, documents, tiny_model
from tilth.tokens.documents import TokenDocuments
from tilth.training.loop import fit

VOCABULARY, CHUNK = 300, 4


def ids(rows, length, seed=0):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(1, VOCABULARY, (rows, length), generator=chance)


def found(rows, chunks, seed=1, several=2, size=8):
    chance = torch.Generator().manual_seed(seed)
    made = torch.randint(1, VOCABULARY, (rows, chunks, several, size), generator=chance)
    made[:, :, 1, size - 2 :] = -1  # the second neighbour is shorter
    return made


def gpt2(layers=3):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=layers, n_head=2,
                        bos_token_id=0, eos_token_id=0)  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def decoders():
    return {"llama": build_decoder("50k", vocabulary=VOCABULARY, context=64), "gpt2": gpt2()}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def woken(request):
    """A model with retrieval in two layers, whose output projections are not 0 any more."""
    model = add_retrieval(decoders()[request.param], chunk=CHUNK, retrieval_layers=[1, 2])
    torch.manual_seed(5)
    for layer in model.retrieval.values():
        torch.nn.init.normal_(layer.attention.output.weight, std=0.5)
        torch.nn.init.normal_(layer.places)
    return model


def test_positions_see_the_chunk_that_ended():
    """12 tokens in chunks of 4: chunk 0 is seen from 3 to 6, chunk 1 from 7 to 10, 2 at 11."""
    assert [group_of(p, 4) for p in range(12)] == [-1] * 3 + [0] * 4 + [1] * 4 + [2]
    for start in range(9):
        for length in range(1, 9):
            first, last, left = groups(start, length, 4)
            assert first == group_of(start, 4) and last == group_of(start + length - 1, 4)
            assert [(left + n) // 4 + first for n in range(length)] == [
                group_of(start + n, 4) for n in range(length)
            ]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_new_model_is_the_old_one_bit_for_bit(kind):
    decoder = decoders()[kind]
    model = add_retrieval(decoder, chunk=CHUNK)
    text = ids(2, 14)
    with torch.no_grad():
        expected = decoder(text).logits
        assert torch.equal(model(text, found(2, 3)).logits, expected)
        assert torch.equal(model(text).logits, expected)
    before = decoder.state_dict()
    assert all(torch.equal(model.decoder.state_dict()[name], before[name]) for name in before)
    assert model.decoder.get_input_embeddings().weight.data_ptr() != (
        decoder.get_input_embeddings().weight.data_ptr()
    )


def test_no_logit_depends_on_what_comes_later(woken):
    """By gradient: of tokens through their embeddings, and of the neighbours of each chunk."""
    table = woken.get_input_embeddings()
    kept = {}

    def keep(module, args, output):
        output.retain_grad()
        kept[tuple(args[0].shape)] = output

    handle = table.register_forward_hook(keep)
    length = 14  # three chunks and two tokens more
    near = found(1, 3)
    try:
        for place in range(length):
            logits = woken(ids(1, length), near).logits
            woken.zero_grad()
            logits[0, place].square().sum().backward()
            tokens = kept[1, length].grad.abs().sum(-1)[0]
            passages = kept[3, 2, 8].grad
            assert (tokens[place + 1 :] == 0).all() and (tokens[: place + 1] > 0).all()
            for chunk in range(3):
                grad = 0.0 if passages is None else float(passages[chunk].abs().sum())
                seen = place >= (chunk + 1) * CHUNK - 1
                if not seen:
                    assert grad == 0, f"position {place} sees the neighbours of chunk {chunk}"
                if group_of(place, CHUNK) == chunk:
                    assert grad > 0, f"position {place} does not see its own chunk's neighbours"
            if passages is not None:
                assert (passages[:, 1, 6:] == 0).all(), "-1 is not a token"
    finally:
        handle.remove()


def test_missing_neighbours_are_masked(woken):
    text, near = ids(2, 12), found(2, 3)
    with torch.no_grad():
        plain = woken.decoder(text).logits
        assert torch.equal(woken(text, torch.full_like(near, -1)).logits, plain)
        some = near.clone()
        some[:, 1] = -1
        got = woken(text, some).logits
        whole = woken(text, near).logits
        assert not torch.allclose(whole, plain, atol=1e-3)
        assert torch.allclose(got[:, :7], whole[:, :7], atol=1e-5)
        assert torch.isfinite(got).all()
        # A missing second neighbour is as if there were one only.
        some = near.clone()
        some[:, :, 1] = -1
        one = woken(text, near[:, :, :1]).logits
        assert torch.allclose(woken(text, some).logits, one, atol=1e-5)
    gradients = torch.autograd.grad(
        woken(text, torch.full_like(near, -1)).logits.sum(), list(woken.parameters()),
        allow_unused=True,
    )  # fmt: skip
    assert all(one is None or torch.isfinite(one).all() for one in gradients)


def test_neighbours_must_fit_the_chunks(woken):
    with pytest.raises(ValueError, match="complete 3"):
        woken(ids(1, 14), found(1, 4))
    with pytest.raises(ValueError, match="longest has 8"):
        woken(ids(1, 14), found(1, 3, size=9))
    with torch.no_grad():
        short = woken(ids(1, 14), found(1, 3)[..., :5]).logits
        padded = found(1, 3).clone()
        padded[..., 5:] = -1
        assert torch.equal(short, woken(ids(1, 14), padded).logits)


@pytest.mark.parametrize("cuts", [(1,) * 14, (3, 1, 1, 5, 4), (6, 8), (4, 4, 4, 2), (7, 7)])
def test_decoding_in_pieces_is_the_whole(woken, cuts):
    text, near = ids(2, 14), found(2, 3)
    with torch.no_grad():
        whole = woken(text, near).logits
        state, parts, done = None, [], 0
        for size in cuts:
            complete = slice(done // CHUNK, (done + size) // CHUNK)
            given = near[:, complete] if complete.stop > complete.start else None
            answer = woken(text[:, done : done + size], given, past_key_values=state,
                           use_cache=True)  # fmt: skip
            state, done = answer.past_key_values, done + size
            parts.append(answer.logits)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_making_text_looks_up_each_chunk(woken):
    asked = []

    def lookup(chunk):
        asked.append(chunk.tolist())
        rng = np.random.default_rng(int(chunk.sum()))
        return rng.integers(1, VOCABULARY, (2, 8))

    prompt = ids(1, 9)[0].tolist()
    woken.config.eos_token_id = None
    made = continue_tokens(woken, prompt, lookup, 8)
    read = prompt + made
    assert asked == [read[:4], read[4:8], read[8:12], read[12:16]] and len(made) == 8
    near = torch.from_numpy(np.stack([lookup(np.array(read[n : n + 4])) for n in (0, 4, 8, 12)]))
    with torch.no_grad():
        logits = woken(torch.tensor([read]), near[None]).logits[0]
    assert logits[8:-1].argmax(-1).tolist() == made
    assert continue_tokens(woken, prompt, None, 8) != made
    with pytest.raises(LimitError, match="64"):
        continue_tokens(woken, prompt, None, 60)


def test_a_saved_folder_loads_with_equal_logits(woken, tmp_path):
    save_model(woken, tmp_path)
    loaded = load_model(tmp_path)
    text, near = ids(2, 12), found(2, 3)
    with torch.no_grad():
        assert torch.equal(loaded(text, near).logits, woken(text, near).logits)
    inner = loaded.decoder
    assert inner.get_output_embeddings().weight is inner.get_input_embeddings().weight


def test_a_copy_hooks_into_itself(woken):
    other = copy.deepcopy(woken)
    with torch.no_grad():
        for layer in other.retrieval.values():
            layer.attention.output.weight.zero_()
        text, near = ids(1, 8), found(1, 2)
        assert torch.equal(other(text, near).logits, other.decoder(text).logits)
        assert not torch.equal(woken(text, near).logits, woken.decoder(text).logits)


def test_attention_is_the_plain_formula():
    torch.manual_seed(0)
    layer = CrossAttention(8, 2)
    queries, keys = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    valid = torch.tensor([[True, False, True, True, False]])
    bias = torch.randn(2, 3, 5)
    with torch.no_grad():
        got = layer(queries, keys, valid, bias)[0]
        q, k, v = layer.query(queries)[0], layer.key(keys)[0], layer.value(keys)[0]
        heads = []
        for head, part in enumerate((slice(0, 4), slice(4, 8))):
            scores = q[:, part] @ k[:, part].T / 2 + bias[head]
            shares = scores.masked_fill(~valid, -torch.inf).softmax(-1)
            heads.append(shares @ v[:, part])
        expected = layer.output(torch.cat(heads, -1))
    assert torch.allclose(got, expected, atol=1e-5)


def test_what_cannot_be_changed_is_refused():
    config = Olmo2Config(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64,
                         num_hidden_layers=1, num_attention_heads=2)  # fmt: skip
    with pytest.raises(UsageError, match="olmo2"):
        add_retrieval(Olmo2ForCausalLM(config))
    with pytest.raises(UsageError, match="0 to 2"):
        add_retrieval(gpt2(), retrieval_layers=[3])
    assert usual_layers(12) == [5, 8, 11] and usual_layers(1) == [0]
    assert build("40k", vocabulary=VOCABULARY, chunk=4).config.longest_neighbour == 8


def test_it_learns_to_copy_from_neighbours():
    """What comes next stands in the neighbour and nowhere else."""
    chance = np.random.default_rng(0)
    rows = [chance.integers(1, 40, 16).astype(np.uint16) for _ in range(256)]
    column = []
    for row in rows:
        following = np.concatenate([row[CHUNK:], np.full(3 * CHUNK, -1)])
        made = [[following[n : n + 2 * CHUNK]] for n in range(0, 16, CHUNK)]
        column.append(np.array(made, np.int32))
    data = TokenDocuments([str(n) for n in range(256)], rows, VOCABULARY, end=0,
                          extra={"neighbours": column})  # fmt: skip
    model = add_retrieval(tiny_model(), chunk=CHUNK, retrieval_layers=[0], silent=False)
    objective = Retrieved(length=16, chunk=CHUNK, most=1, tokens=2 * CHUNK)
    history = fit(model, objective, data, tokens=80 * 512, batch_tokens=512, threads=1,
                  micro_batch_tokens=512, learning_rate=1e-2, schedule="wsd")  # fmt: skip
    assert history.loss < 3.0, "less than 3.43 a target can come from neighbours only"


def test_the_objective_of_retrieval_fits():
    data = documents(count=6)
    column = [np.ones((-(-len(row) // CHUNK), 2, 2 * CHUNK), np.int32) for row in data.tokens]
    data = replace(data, extra={"neighbours": column})
    objective = Retrieved(length=16, chunk=CHUNK, most=2, tokens=2 * CHUNK)
    model = add_retrieval(tiny_model(), chunk=CHUNK, silent=False)
    check_objective(objective, model=model, data=data)
    check_objective(Causal(length=16), model=model, data=data)
