"""Encoders: any local folder, the same vectors as by hand, and one that is trained on pairs."""

import json

import numpy as np
import pytest
import torch
import transformers

from tilth.errors import DamagedError, DataError, TilthError, UsageError
from tilth.models.encoders import build_shape
from tilth.models.folder import save_model
from tilth.objectives.batch import Draws
from tilth.retrieval.dense import Dense
from tilth.retrieval.encoders import load_encoder
from tilth.retrieval.encoders.pairs import Pair, make_pairs
from tilth.retrieval.encoders.static import Static
from tilth.retrieval.encoders.static_model import build
from tilth.retrieval.encoders.training import InBatch, token_pairs, train_encoder
from tilth.retrieval.encoders.transformer import Transformer
from tilth.testing.objectives import check_objective
from tilth.tokens import bpe

TOPICS = ["river mill water field", "court judge appeal law", "bread oven flour salt",
          "sail wind harbour rope"]  # fmt: skip


def documents(count=120, seed=0):
    """Texts about one of four things each, in several sentences."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = TOPICS[number % 4].split()
        sentences = [
            f"The {' and the '.join(chance.choice(words, 3))} of {chance.integers(99)} are told."
            for _ in range(7)
        ]
        made.append((f"d{number}", f"About {words[0]}", " ".join(sentences)))
    return made


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train([text for _, _, text in documents()], 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A small Bert with a tokenizer that frames texts, as sentence-transformers lays it out."""
    from tokenizers.processors import TemplateProcessing

    base = tmp_path_factory.mktemp("encoder")
    framed = type(tokenizer).from_str(tokenizer.to_str())
    framed.post_processor = TemplateProcessing(
        single=f"{bpe.END} $A {bpe.END}", special_tokens=[(bpe.END, 0)]
    )
    model = build_shape(32, 2, vocabulary=300, context=64, kind="bert").base_model
    save_model(model, base)
    (base / "manifest.json").unlink()
    (base / "tokenizer.json").write_text(framed.to_str())
    lay_out(base, ["Transformer", "Pooling", "Normalize"])
    return base


def lay_out(base, kinds, pooling="mean_tokens", **settings):
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": n, "path": paths.get(kind, kind), "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (base / "modules.json").write_text(json.dumps(modules))
    (base / "1_Pooling").mkdir(exist_ok=True)
    modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False}
    modes |= {f"pooling_mode_{pooling}": True, **settings.pop("more", {})}
    (base / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    (base / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20}))
    (base / "config_sentence_transformers.json").write_text(json.dumps(settings))


def by_hand(folder, texts, pooling, normalize=True, longest=20):
    from transformers import AutoModel, PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token=bpe.END)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        ids = made(text, truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            states = model(
                **{k: ids[k] for k in ("input_ids", "attention_mask")}
            ).last_hidden_state[0]
        pooled = {"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1],
                  "max": states.max(0).values}[pooling]  # fmt: skip
        rows.append(pooled / pooled.norm() if normalize else pooled)
    return torch.stack(rows).numpy()


TEXTS = ["The river.", "The court and the judge of case 3 are told. " * 4, "salt"]


@pytest.mark.parametrize(
    ("mode", "pooling"),
    [("mean_tokens", "mean"), ("cls_token", "cls"), ("lasttoken", "lasttoken"),
     ("max_tokens", "max")],
)  # fmt: skip
def test_a_folder_gives_the_vectors_that_transformers_gives_by_hand(
    folder, mode, pooling, tmp_path
):
    lay_out(folder, ["Transformer", "Pooling", "Normalize"], mode)
    encoder = load_encoder(folder)
    found = encoder.encode(TEXTS)
    assert np.abs(found - by_hand(folder, TEXTS, pooling)).max() < 1e-5
    # The second text is longer than 20 tokens, and what was cut is counted.
    assert encoder.cut_tokens > 0
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(found - alone).max() < 1e-5
    encoder.save(tmp_path)
    again = load_encoder(tmp_path)
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.encode(TEXTS), found)


def test_prompts_length_and_normalisation_are_those_of_the_folder(folder):
    prompts = {"query": "find: ", "document": "text: "}
    lay_out(folder, ["Transformer", "Pooling"], prompts=prompts, similarity_fn_name="dot")
    encoder = load_encoder(folder)
    with_prompt = by_hand(folder, ["find: river"], "mean", normalize=False)
    assert np.abs(encoder.encode_queries(["river"]) - with_prompt).max() < 1e-5
    document = by_hand(folder, ["text: river"], "mean", normalize=False)
    assert np.abs(encoder.encode(["river"]) - document).max() < 1e-5
    assert not encoder.encode(["", "  \n"]).any()
    other = load_encoder(folder, prompts={}, longest=10)
    assert other.fingerprint != encoder.fingerprint
    lay_out(folder, ["Transformer", "Pooling", "Normalize"])


@pytest.mark.parametrize(("stated", "longest"), [(24, 24), (10**30, 64), (1000, 64), (None, 64)])
def test_a_length_among_the_tokenizer_s_settings_counts(folder, stated, longest):
    """Where sentence-transformers writes it since version 6; never more than the context."""
    (folder / "sentence_bert_config.json").write_text("{}")
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({"model_max_length": stated}))
    assert load_encoder(folder).longest == longest
    settings.unlink()
    lay_out(folder, ["Transformer", "Pooling", "Normalize"])


@pytest.mark.parametrize(
    ("kinds", "more", "says"),
    [
        (["Transformer", "Pooling", "Dense"], {}, "a module 'Dense', which is not covered"),
        (["Transformer"], {}, "is made of Transformer, not of"),
        (["Transformer", "Pooling"], {"pooling_mode_max_tokens": True}, "pools by mean_tokens and"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(folder, kinds, more, says):
    lay_out(folder, kinds, more=more)
    with pytest.raises(TilthError, match=says):
        load_encoder(folder)
    lay_out(folder, ["Transformer", "Pooling", "Normalize"])


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("kinds", [[], ["Transformer", "Pooling"]])
def test_an_encoder_decoder_is_refused_by_name(folder, tmp_path, kinds, stated):
    """Whatever its config.json states, as one folder or as a module of one."""
    config = transformers.T5Config(vocab_size=300, d_model=32, d_kv=16, d_ff=32, num_layers=1,
                                   num_heads=2)  # fmt: skip
    transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    if kinds:
        lay_out(tmp_path, kinds)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is_encoder_decoder": stated}))
    says = r"is an encoder-decoder \(t5\)" if stated else "has no weights for decoder"
    with pytest.raises(TilthError, match=says) as refused:
        load_encoder(tmp_path)
    assert refused.value.where == str(tmp_path)


def test_folders_without_an_encoder_and_wrong_options(folder, tmp_path):
    with pytest.raises(DataError, match=r"neither modules\.json"):
        load_encoder(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        load_encoder(tmp_path / "none")
    with pytest.raises(UsageError, match="did you mean 'pooling'"):
        load_encoder(folder, poling="cls")
    with pytest.raises(UsageError, match="context is 64"):
        load_encoder(folder, longest=1000)
    modules = [{"path": "../..", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(DamagedError, match="outside of it"):
        load_encoder(tmp_path)


def test_a_static_encoder_is_the_mean_of_its_tokens(tokenizer, tmp_path):
    weights = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    encoder = Static(weights, tokenizer)
    ids = bpe.encode(tokenizer, TEXTS)
    expected = np.stack([weights[row].mean(0) for row in ids])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    encoder.save(tmp_path)
    assert load_encoder(tmp_path).fingerprint == encoder.fingerprint
    assert json.loads((tmp_path / "modules.json").read_text())[0]["type"].endswith(
        "StaticEmbedding"
    )
    (tmp_path / "tokenizer.json").write_text(bpe.train(["other words " * 9], 400).to_str())
    Static(weights[:260], tokenizer).save(tmp_path / "few")
    with pytest.raises(DamagedError, match="fewer vectors"):
        load_encoder(tmp_path / "few")


def test_pairs_keep_the_sentence_out_of_its_passage():
    made = documents(30)
    pairs = list(make_pairs(made, 800))
    assert pairs == list(make_pairs(made, 800)) != list(make_pairs(made, 800, round=1))
    titled = [pair for pair in pairs if pair.query.startswith("About")]
    assert len(titled) == 30
    for pair in pairs:
        text = made[pair.document][2]
        if pair not in titled:
            assert len(pair.passage) < len(text) and set(pair.query.split()) <= set(text.split())
    whole = [pair for pair in pairs if pair.query.endswith("told.") and pair.query.count(" ") > 8]
    assert whole and all(pair.query not in pair.passage for pair in whole)


@pytest.mark.parametrize("layers", [0, 1])
def test_a_trained_encoder_finds_the_topic_and_is_the_same_again(tokenizer, layers, tmp_path):
    pairs = [pair for n in range(4) for pair in make_pairs(documents(), 800, round=n)]
    encoder = train_encoder(pairs, tokenizer, dimensions=32, layers=layers, threads=1)
    again = train_encoder(pairs, tokenizer, dimensions=32, layers=layers, threads=1)
    assert encoder.fingerprint == again.fingerprint
    fresh = documents(40, seed=1)
    index = Dense(encoder=encoder).fit({id: text for id, _, text in fresh})
    best = index.search(["bread and salt", "the judge"], k=5).rows
    # Ten steps are enough for vectors that are added up, not for a layer of attention.
    if layers == 0:
        assert all(int(id[1:]) % 4 == 2 for id, _ in best["0"])
        assert all(int(id[1:]) % 4 == 1 for id, _ in best["1"])
    index.save(tmp_path)
    assert Dense.load(tmp_path).search(["bread and salt", "the judge"], k=5).rows == best


def test_the_objective_keeps_its_contract(tokenizer):
    data = token_pairs(list(make_pairs(documents(12), 800)), tokenizer)
    model = build(data.vocabulary, 16, 0)
    check_objective(InBatch(group=4), model=model, data=data)


def test_what_a_pair_is_cut_by_is_counted(tokenizer):
    pairs = [Pair("river " * 60, "mill " * 300, 0), Pair("water", "the field", 1)]
    sizes = [len(tokenizer.encode(text).ids) for text in (pairs[0].query, pairs[0].passage)]
    data = token_pairs(pairs, tokenizer)
    assert data.extra["cut"] == [sum(sizes) - 48 - 256, 0] and len(data.document(0)) == 48 + 256
    many = list(make_pairs(documents(300), 800))
    assert train_encoder(many, tokenizer, dimensions=16).cut_tokens == 0
    assert train_encoder([*many, pairs[0]], tokenizer, dimensions=16).cut_tokens == sum(sizes) - 304


def test_passages_of_the_same_document_are_no_wrong_answers(tokenizer):
    pairs = [Pair("river", "the mill", 0), Pair("water", "the field", 0)]
    model = build(tokenizer.get_vocab_size(), 16, 0)
    for owners, expected in (((0, 0), 0.0), ((0, 1), None)):
        data = token_pairs([p._replace(document=n) for p, n in zip(pairs, owners)], tokenizer)
        objective = InBatch(group=2)
        loss = objective.loss(model, objective.prepare(data, Draws(0)))
        assert loss.n_targets == 2
        assert loss.total.item() == 0 if expected == 0.0 else loss.total.item() > 0


def test_too_few_pairs_are_refused(tokenizer):
    with pytest.raises(DataError, match="too few to train an encoder on"):
        train_encoder(list(make_pairs(documents(4), 800)), tokenizer)


def test_transformer_names_its_poolings(folder, tokenizer):
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        Transformer(load_encoder(folder).model, tokenizer, pooling="meen")
