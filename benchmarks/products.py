"""Products of a row of tokens with the matrices of a model: compiled tiles, oneDNN, MKL.

Run: python benchmarks/products.py [--threads 1] [--repeats 9] [--layers 10]
Prints a table and, last, one JSON object of ratios. All matrices of a model of 20.9 M parameters
in float32 (4 a layer and the head), by rows; what each way takes to make room for its result is
counted. Interleaved repeats, medians of seconds: of the processor with one thread, of the clock
with more. `serving/products.py` chooses by these.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence

import torch

from tilth.serving import kernels
from tilth.serving.cost_table import machine
from tilth.serving.products import Linear, packed, tiled

ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 128, 256, 512, 1024)
WIDTH, INNER, VOCABULARY = 384, 1024, 4096
Inputs = dict[int, torch.Tensor]


def tiles(linears: Sequence[Linear], inputs: Inputs) -> None:
    for linear in linears:
        assert linear.arrays is not None
        x = inputs[linear.weight.shape[1]]
        found = torch.zeros(len(x), len(linear.weight))
        kernels.product(x.numpy(), linear.arrays[0], found.numpy())


def onednn(linears: Sequence[Linear], inputs: Inputs) -> None:
    for linear in linears:
        x = inputs[linear.weight.shape[1]]
        torch.ops.mkldnn._linear_pointwise(x, linear.packed, None, "none", [], "")


def mkl(linears: Sequence[Linear], inputs: Inputs) -> None:
    for linear in linears:
        torch.nn.functional.linear(inputs[linear.weight.shape[1]], linear.weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--layers", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (2 * INNER, WIDTH), (WIDTH, INNER)]
    shapes = shapes * given.layers + [(VOCABULARY, WIDTH)]
    linears = [packed(tiled(Linear(torch.randn(shape) / 20, None))) for shape in shapes]
    clock = time.process_time if given.threads == 1 else time.perf_counter
    ratios = {}
    print(f"{'rows':>5} {'tiles':>10} {'spread':>7} {'oneDNN':>10} {'spread':>7} {'MKL':>10} "
          f"{'spread':>7}")  # fmt: skip
    for rows in ROWS:
        inputs = {size: torch.randn(rows, size) for size in (WIDTH, INNER)}
        seconds: dict[str, list[float]] = defaultdict(list)
        times = max(1, 64 // rows)
        for repeat in range(1 + given.repeats):
            for way in (tiles, onednn, mkl):
                began = clock()
                for _ in range(times):
                    way(linears, inputs)
                # The first time compiles and fills caches.
                if repeat:
                    seconds[way.__name__].append((clock() - began) / times)
        middle = {name: statistics.median(each) for name, each in seconds.items()}
        parts = [f"{middle[name] * 1e3:>7.2f} ms {max(each) / min(each):>7.2f}"
                 for name, each in seconds.items()]  # fmt: skip
        print(f"{rows:>5} {' '.join(parts)}", flush=True)
        ratios[rows] = {f"{name} over tiles": round(middle[name] / middle["tiles"], 3)
                        for name in ("onednn", "mkl")}  # fmt: skip
    print(json.dumps({"machine": machine(), "threads": given.threads, "repeats": given.repeats,
                      "rows": ratios}))  # fmt: skip


if __name__ == "__main__":
    main()
