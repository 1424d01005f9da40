import json

import pytest
import torch
import transformers

from tilth.errors import DamagedError, DataError, UsageError
from tilth.models import folder as folders
from tilth.testing.faults import tree
from tilth.tokens import bpe
from tilth.tokens.special import special_ids

SMALL = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 24, "pad_token_id": 1,
}  # fmt: skip


def made(name, **settings):
    config = getattr(transformers, f"{name}Config")(**SMALL, **settings)
    maker = getattr(transformers, f"{name}ForCausalLM", None)
    maker = getattr(transformers, f"{name}ForMaskedLM", None) or maker
    torch.manual_seed(1)
    return maker(config).eval()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Bert", "masked"), ("Roberta", "masked"), ("Electra", "masked"), ("Llama", "causal"),
        ("Mistral", "causal"), ("Qwen2", "causal"), ("Qwen3", "causal"), ("Olmo2", "causal"),
        ("Longformer", "masked"), ("ModernBert", "masked"), ("Mixtral", "causal"),
    ],
)  # fmt: skip
def test_a_folder_of_transformers_comes_in_and_goes_out_with_equal_logits(name, kind, tmp_path):
    settings = {"attention_window": [4]} if name == "Longformer" else {}
    settings |= {"num_key_value_heads": 1} if kind == "causal" else {}
    model = made(name, **settings)
    model.save_pretrained(tmp_path / "theirs")
    loaded = folders.load_model(tmp_path / "theirs", kind)
    folders.save_model(loaded, tmp_path / "ours")
    theirs = getattr(transformers, folders.KINDS[kind][0]).from_pretrained(tmp_path / "ours")
    ids = torch.arange(2, 22)[None]
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        assert torch.equal(loaded(input_ids=ids).logits, expected)
        assert torch.equal(theirs(input_ids=ids).logits, expected)
        assert torch.equal(
            folders.load_model(tmp_path / "ours", kind)(input_ids=ids).logits, expected
        )
    folders.save_model(loaded, tmp_path / "again")
    assert tree(tmp_path / "ours") == tree(tmp_path / "again")


@pytest.mark.parametrize("name", ["Bert", "ModernBert"])
def test_heads_are_new_and_only_heads(name, tmp_path):
    folders.save_model(made(name), tmp_path)
    for kind, shape in (("classify", (2, 3)), ("tag", (2, 5, 3)), ("choose", (1, 2))):
        ids = torch.ones((1, 2, 5) if kind == "choose" else (2, 5), dtype=torch.int64) * 7
        one, same, other = (
            folders.load_model(
                tmp_path, kind, seed=seed, **({} if kind == "choose" else {"num_labels": 3})
            )
            for seed in (1, 1, 2)
        )
        with torch.inference_mode():
            logits = one(input_ids=ids).logits
            assert logits.shape == shape
            assert torch.equal(logits, same(input_ids=ids).logits)
            assert not torch.equal(logits, other(input_ids=ids).logits)
    encoder = folders.load_model(tmp_path, "encoder")
    assert encoder(input_ids=ids[0]).last_hidden_state.shape == (2, 5, 16)
    folders.save_model(folders.load_model(tmp_path, "classify", num_labels=3), tmp_path / "three")
    with pytest.raises(DamagedError, match=r"classifier\.weight is 3 x 16 in the file, and 4 x 16"):
        folders.load_model(tmp_path / "three", "classify", num_labels=4)
    four = folders.load_model(tmp_path / "three", "classify", num_labels=4, new_head=True)
    assert four.classifier.weight.shape == (4, 16)
    folders.save_model(encoder, tmp_path / "encoder")
    with pytest.raises(DamagedError, match="no weights for"):
        folders.load_model(tmp_path / "encoder", "masked")


def change(folder, **settings):
    (folder / "manifest.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))


def test_bad_folders_are_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"no config\.json"):
        folders.load_model(tmp_path, "masked")
    with pytest.raises(UsageError, match="did you mean 'causal'"):
        folders.load_model(tmp_path, "casual")
    folders.save_model(made("Bert"), tmp_path / "bert")
    with pytest.raises(DamagedError, match="has no weights for electra"):
        change(tmp_path / "bert", model_type="electra")
        folders.load_model(tmp_path / "bert", "masked")
    folders.save_model(made("Bert"), tmp_path / "bert")
    with pytest.raises(UsageError, match="did you mean 'hidden_dropout_prob'"):
        folders.load_model(tmp_path / "bert", "masked", hidden_dropout=0.1)
    folders.save_model(made("Llama"), tmp_path / "llama")
    with pytest.raises(DataError, match="of type llama, and transformers makes no such model a ma"):
        folders.load_model(tmp_path / "llama", "masked")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "strange"}, "no architecture 'strange'"),
        ({"model_type": None}, "no model_type"),
        ({"hidden_size": 32}, "is 60 x 16 in the file, and 60 x 32"),
        ({"vocab_size": 10**12}, r"60 x 16 in the file, and 1,000,000,000,000 x 16"),
        ({"num_hidden_layers": 2}, r"no weights for bert\.encoder\.layer\.1"),
        ({"num_attention_heads": 3}, "cannot be loaded as a masked language model"),
        ({"hidden_size": "wide"}, "cannot be loaded as a masked language model"),
        ({"model_type": "t5"}, "makes no such model a masked|cannot be loaded"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_before_anything_is_made(
    settings, message, tmp_path
):
    folders.save_model(made("Bert"), tmp_path)
    change(tmp_path, **settings)
    with pytest.raises((DamagedError, DataError), match=message) as refused:
        folders.load_model(tmp_path, "masked")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("what", ["length", "shape", "hole", "cut"])
def test_lying_safetensors_headers_are_refused(what, tmp_path):
    folders.save_model(made("Bert"), tmp_path)
    (tmp_path / "manifest.json").unlink()
    path = tmp_path / folders.WEIGHTS
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    if what == "length":
        path.write_bytes((10**15).to_bytes(8, "little") + data[8:])
    elif what == "cut":
        path.write_bytes(data[:-7])
    else:
        if what == "shape":
            header[name]["shape"] = [10**9, 10**9]
        else:
            header[name]["data_offsets"][1] += 4
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(DamagedError, match=r"header|tensor"):
        folders.load_model(tmp_path, "masked")


def test_tokenizers_of_any_family_are_read_and_their_parts_found(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "soil", "seed"]
    tokenizer = Tokenizer(
        models.WordPiece({name: n for n, name in enumerate(names)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = folders.load_tokenizer(tmp_path)
    assert bpe.encode(loaded, ["soil seed soil"]) == [[5, 6, 5]]
    found = special_ids(loaded, tmp_path)
    assert (found.end, found.begin, found.separator, found.mask, found.pad) == (3, 2, 3, 4, 0)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": {"content": "[UNK]"}, "cls_token": "[SEP]"})
    )
    found = special_ids(loaded, tmp_path)
    assert (found.begin, found.pad) == (3, 1)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        special_ids(loaded, tmp_path)
    own = bpe.train(["soil and seed"], 270, special=(bpe.PAD, bpe.MASK))
    found = special_ids(own)
    assert (found.end, found.begin, found.separator, found.mask, found.pad) == (0, 0, 0, 2, 1)
    plain = special_ids(bpe.train(["soil"], 257))
    assert (plain.pad, plain.mask) == (0, None)
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        folders.load_tokenizer(tmp_path / "nowhere")
    folder = tmp_path / "model"
    bpe.save(own, tmp_path / "own")
    folders.save_model(made("Bert"), folder, tmp_path / "own")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert (theirs.mask_token_id, theirs.pad_token_id, theirs.eos_token_id) == (2, 1, 0)
