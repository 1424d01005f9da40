"""The compiled loops against the same formulas in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.serving import kernels
from tilth.serving.products import Linear, tiled
from tilth.serving.rotary import turned


def test_norm() -> None:
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(size, np.float32) for size in ((5, 48), 48))
    found = np.empty_like(x)
    kernels.rms_norm(x, weight, 1e-6, found)
    wanted = torch.nn.functional.rms_norm(torch.tensor(x), (48,), torch.tensor(weight), 1e-6)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=2e-6, atol=2e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=70))
def test_exponentials(numbers: list[float]) -> None:
    x = np.array(numbers, np.float32)
    wanted = np.exp((x - x.max()).astype(np.float64))
    kernels.exponentials(x)
    # What is below the smallest normal number of float32 may come out as about that.
    np.testing.assert_allclose(x, wanted, rtol=1e-5, atol=3e-38)


def test_turning_and_keeping() -> None:
    rng = np.random.default_rng(1)
    mixed = rng.standard_normal((3, 4 + 2 * 2, 6), np.float32)
    angle = rng.standard_normal((3, 3), np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    keys, values = np.zeros((2, 20, 2, 6), np.float32)
    before = mixed.copy()
    places = np.array([7, 0, 19])
    kernels.turn_and_keep(mixed, 4, 2, cos, sin, places, keys, values)
    wanted = turned(
        torch.tensor(before[:, :6]), *(torch.tensor(one)[:, None] for one in (cos, sin))
    )
    np.testing.assert_allclose(mixed[:, :6], wanted.numpy(), atol=1e-6)
    np.testing.assert_array_equal(keys[places], mixed[:, 4:6])
    np.testing.assert_array_equal(values[places], before[:, 6:])
    assert np.count_nonzero(keys.any((1, 2))) == len(places)


@pytest.mark.parametrize("window", [0, 5, 100])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_attention_over_scattered_blocks(window: int, key_heads: int) -> None:
    rng = np.random.default_rng(2)
    heads, size, block, lengths = 4, 8, 4, np.array([1, 4, 13])
    mixed = rng.standard_normal((3, heads + 2 * key_heads, size), np.float32)
    keys, values = rng.standard_normal((2, 10 * block, key_heads, size), np.float32)
    blocks, starts = np.array([9, 3, 6, 1, 8, 0]), np.array([0, 1, 2])
    found = np.empty((3, heads * size), np.float32)
    kernels.attend_last(
        mixed, heads, keys, values, blocks, starts, lengths, block, 0.3, window, found
    )
    for row, length in enumerate(lengths):
        own = blocks[starts[row] :][: -(-length // block)]
        slots = (own[:, None] * block + np.arange(block)).reshape(-1)[:length]
        slots = slots[-window:] if window else slots
        query = torch.tensor(mixed[row, :heads])[:, None]
        key, value = (torch.tensor(side[slots]).transpose(0, 1) for side in (keys, values))
        wanted = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, scale=0.3, enable_gqa=True
        )
        np.testing.assert_allclose(found[row], wanted.reshape(-1).numpy(), atol=1e-5)


def in_panels(weight: np.ndarray) -> np.ndarray:
    return tiled(Linear(torch.tensor(weight), None)).arrays[0]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 13, 100])
@pytest.mark.parametrize("outputs", [1, 24, 53])
def test_products_are_added(rows: int, outputs: int) -> None:
    rng = np.random.default_rng(rows)
    shapes = ((rows, 37), (outputs, 37), (rows, outputs))
    x, weight, found = (rng.standard_normal(shape, np.float32) for shape in shapes)
    wanted = found + x.astype(np.float64) @ weight.T.astype(np.float64)
    kernels.product(x, in_panels(weight), found)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_rows_product_is_the_same_bits_beside_any_others() -> None:
    rng = np.random.default_rng(3)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in ((123, 300), (50, 300)))
    whole = np.zeros((123, 50), np.float32)
    kernels.product(x, in_panels(weight), whole)
    for first, last in ((0, 1), (4, 6), (9, 12), (5, 21), (47, 122)):
        found = np.zeros((last - first, 50), np.float32)
        kernels.product(x[first:last].copy(), in_panels(weight), found)
        assert np.array_equal(found, whole[first:last])


def test_gate_also_of_numbers_whose_exponentials_are_none() -> None:
    rng = np.random.default_rng(2)
    inner = rng.standard_normal((3, 20), np.float32)
    inner[0, :6] = [-1e4, -200, -88, 0, 88, 1e4]
    found = np.empty((3, 10), np.float32)
    kernels.gate(inner, found)
    first, second = torch.tensor(inner, dtype=torch.float64).chunk(2, dim=-1)
    wanted = torch.nn.functional.silu(first) * second
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-6, atol=1e-30)
