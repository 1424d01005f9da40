import os

import pytest
import torch

from tilth.serving import products
from tilth.serving.model_runner import ModelRunner
from tilth.serving.products import Linear, packed, product, tiled
from tilth.testing.objectives import tiny_model

CAN = torch.backends.mkldnn.is_available()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("way", [tiled, packed])
@pytest.mark.parametrize("rows", [1, 2, 7, 64])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("input_first", [False, True])
def test_products_of_a_copy_are_those_of_64_bits(way, rows, biased, input_first, threads):
    if way is packed and not CAN:
        pytest.skip("this torch was built without oneDNN")
    threads(1)
    chance = torch.Generator().manual_seed(rows)
    x, weight, bias, residual = (
        torch.randn(shape, generator=chance) for shape in ((rows, 40), (24, 40), (24,), (rows, 24))
    )
    if input_first:
        weight = weight.t().contiguous().t()
    linear = way(Linear(weight, bias if biased else None))
    before = residual.clone()
    expected = x.double() @ weight.double().t() + (bias.double() if biased else 0)
    assert torch.allclose(product(x, linear).double(), expected, atol=1e-5)
    found = product(x, linear, residual)
    assert torch.allclose(found.double(), expected + residual, atol=1e-5)
    assert torch.equal(residual, before)
    # A part of the columns does not lie in one piece.
    wide = torch.cat((x, x), dim=1)[:, :40]
    assert torch.allclose(product(wide, linear).double(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "tiles", "layout"), [(1, True, False), (2, True, CAN), (3, False, CAN)]
)
def test_copies_are_made_for_the_threads_there_are(count, tiles, layout, threads):
    threads(count)
    weights = ModelRunner(tiny_model()).weights
    for linear in (weights.head, weights.layers[0].qkv):
        assert (linear.arrays is not None, linear.packed is not None) == (tiles, layout)


def test_copies_are_made_where_they_fit_and_only_of_single_precision(monkeypatch, threads):
    threads(2)
    model = tiny_model()
    runner = ModelRunner(model)
    half = ModelRunner(model, torch.bfloat16).weights.layers[0].qkv
    assert half.packed is None and half.arrays is None
    every = sum(part.weight.nbytes for layer in runner.weights.layers
                for part in (layer.qkv, layer.out, layer.up, layer.down))  # fmt: skip
    every += runner.weights.head.weight.nbytes
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for copies in (0, 1):
        monkeypatch.setattr(products, "PACKED_SHARE", (copies + 0.5) * every / memory)
        fewer = ModelRunner(model)
        assert (fewer.weights.head.arrays is not None) == (copies == 1)
        assert fewer.weights.head.packed is None
        assert fewer.weights.fingerprint() == runner.weights.fingerprint()
