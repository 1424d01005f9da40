"""Devices, and what the tests of exactness have counted."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agreement import Agreement

AGREEMENT = pytest.StashKey[Agreement]()


@pytest.fixture(scope="session")
def agreement(pytestconfig):
    """One count for all tests: see `agreement`."""
    found = pytestconfig.stash.setdefault(AGREEMENT, Agreement())
    yield found
    found.check()


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Where the tests of exactness run."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    # TensorFloat-32 has 10 bits behind the point: products of that kind are not within 1e-4.
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield request.param
    torch.set_float32_matmul_precision(precision)


def pytest_sessionfinish(session):
    found = session.config.stash.get(AGREEMENT, None)
    if found is not None:
        title = "agreement with transformers, and with itself"
        session.config.said.append((title, list(found.lines())))
