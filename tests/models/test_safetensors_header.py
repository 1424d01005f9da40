import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from tilth.errors import DamagedError
from tilth.models.safetensors_header import check_header

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.zeros((0, 4), dtype=np.int64),
    "c": np.ones(5, dtype=np.uint8),
}


def write(path, header, data=bytes(29)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(2, 3), offsets=(0, 24)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


LAST = entry("U8", (5,), (24, 29))


def test_what_the_library_writes_passes(tmp_path):
    (tmp_path / "x").write_bytes(save(TENSORS, metadata={"format": "np"}))
    made = check_header(tmp_path / "x")
    assert {name: value["shape"] for name, value in made.items()} == {
        name: list(array.shape) for name, array in TENSORS.items()
    }


def test_a_good_header_passes(tmp_path):
    assert check_header(write(tmp_path / "x", {"a": entry(), "b": LAST}))


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(), "b": entry("U8", (5,), (23, 28))},
        {"a": entry(), "b": entry("U8", (4,), (25, 29))},
        {"a": entry()},
        {"a": entry(), "b": LAST, "c": entry("U8", (1,), (29, 30))},
        {"a": entry(shape=(1 << 40, 1 << 40)), "b": LAST},
        {"a": entry(shape=(-2, -3)), "b": LAST},
        {"a": entry(shape=(2.0, 3)), "b": LAST},
        {"a": entry(shape=(True, 6)), "b": LAST},
        {"a": entry(offsets=(24, 0)), "b": LAST},
        {"a": entry(offsets=(0, 24, 29)), "b": LAST},
        {"a": entry(dtype="PICKLE"), "b": LAST},
        {"a": {"dtype": "F32", "shape": [6]}, "b": LAST},
        {"a": {**entry(), "more": 1}, "b": LAST},
        {"a": [1], "b": LAST},
        {"a": {"dtype": "F32", "shape": 6, "data_offsets": 24}, "b": LAST},
        [1, 2],
        b"not json at all",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": 1, "a": 2}',
    ],
)
def test_headers_that_lie_are_refused(tmp_path, header):
    with pytest.raises(DamagedError):
        check_header(write(tmp_path / "x", header))


@pytest.mark.parametrize(
    "data", [b"", b"\x01", bytes(7), b"\xff" * 8, (1 << 62).to_bytes(8, "big")]
)
def test_lengths_that_no_file_has_are_refused(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DamagedError):
        check_header(tmp_path / "x")


@given(st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=80, deadline=None)
def test_any_changed_byte_passes_or_is_refused_in_one_way(tmp_path_factory, place, value):
    data = bytearray(save(TENSORS))
    data[min(place, len(data) - 1)] = value
    path = tmp_path_factory.mktemp("header") / "x"
    path.write_bytes(data)
    try:
        made = check_header(path)
    except DamagedError:
        return
    stops = [tensor["data_offsets"][1] for tensor in made.values()]
    assert max(stops, default=0) + 8 + int.from_bytes(data[:8], "little") == len(data)
