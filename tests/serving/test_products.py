import pytest
import torch

from tilth.serving import products
from tilth.serving.model_runner import ModelRunner
from tilth.serving.products import Linear, packed, product
from tilth.testing.objectives import tiny_model

CAN = torch.backends.mkldnn.is_available()


@pytest.mark.skipif(not CAN, reason="this torch was built without oneDNN")
@pytest.mark.parametrize("rows", [1, 2, 7, 64])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("input_first", [False, True])
def test_packed_products_are_those_of_64_bits(rows, biased, input_first):
    chance = torch.Generator().manual_seed(rows)
    x, weight, bias, residual = (
        torch.randn(shape, generator=chance) for shape in ((rows, 40), (24, 40), (24,), (rows, 24))
    )
    if input_first:
        weight = weight.t().contiguous().t()
    linear = packed(Linear(weight, bias if biased else None))
    before = residual.clone()
    expected = x.double() @ weight.double().t() + (bias.double() if biased else 0)
    assert torch.allclose(product(x, linear).double(), expected, atol=1e-5)
    found = product(x, linear, residual)
    assert torch.allclose(found.double(), expected + residual, atol=1e-5)
    assert torch.equal(residual, before)
    # A part of the columns does not lie in one piece.
    wide = torch.cat((x, x), dim=1)[:, :40]
    assert torch.allclose(product(wide, linear).double(), expected, atol=1e-5)


def test_copies_are_made_where_they_fit_and_only_of_single_precision(monkeypatch):
    model = tiny_model()
    runner = ModelRunner(model)
    assert (runner.weights.head.packed is not None) == CAN
    assert ModelRunner(model, torch.bfloat16).weights.layers[0].qkv.packed is None
    monkeypatch.setattr(products, "PACKED_SHARE", 0)
    plain = ModelRunner(model)
    assert plain.weights.head.packed is None and plain.weights.layers[0].qkv.packed is None
    assert plain.weights.fingerprint() == runner.weights.fingerprint()
