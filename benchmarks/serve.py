"""The engine beside `transformers`, CTranslate2, OpenVINO GenAI and llama.cpp: the same weights and
token ids.

Run: python benchmarks/serve.py [--repeats 9] [--table prefill --table decode ...] [--peers FOLDER]
Prints tables and, last, one JSON object. One thread each, interleaved repeats, medians of CPU
seconds and their spread (largest over smallest); with --device cuda seconds of the clock, beside
`transformers` there.

prefill: prompts of equal and of mixed lengths, beside `transformers` with all padded to the longest
  and sorted by length and padded in groups of four.
decode: batch 1 and 16 behind prompts of 60 tokens, reading them not timed, beside `generate` and
  the peers (their time for all tokens less that for the first).
bf16: both again in bfloat16, and the share of greedy tokens that are equal to float32's; prompts
  only where the processor has such products: emulated they take minutes.
load: requests of real lengths (GSM8K, MTS-Dialog), 16 at a time and as a Poisson stream: tokens a
  second, 99th percentile between tokens; OpenVINO's continuous batching has the same requests.

Peers live in environments of their own, below --peers (the folder for temporary files where none
is named); one that cannot be installed has a row that says so. llama.cpp is compiled there once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from _serve_peer import ROWS, Peer, PeerServer

from tilth.errors import DataError
from tilth.serving.cost_table import machine
from tilth.serving.engine import Engine
from tilth.serving.load import arriving, pairs, poisson, serve
from tilth.serving.sampler import Sampling
from tilth.serving.virtual import Real
from tilth.tokens import bpe

VOCABULARY, PROMPT, GROUP = 4096, 60, 4
GREEDY = Sampling(temperature=0, ignore_end=True)
MIXED = (20, 40, 60, 80, 100, 120, 140, 160, 170, 180, 200, 220, 230, 240, 255, 512)
LENGTHS = {
    "equal, 16 x 128": [128] * 16,
    "mixed, 20 to 512": MIXED,
    "one 512, fifteen 34": [512] + [34] * 15,
}
# How much faster than padding the engine is to be; on equal lengths at most 1.05 of its time.
# Padded tokens over real ones are 3.0 and 8.0.
PREFILL = {"equal, 16 x 128": 1 / 1.05, "mixed, 20 to 512": 3.0, "one 512, fifteen 34": 9.0}
DECODE = {1: 1.4, 16: 1.25}
TABLES = ("prefill", "decode", "bf16", "load")
# Of a load: tokens a step, as many as OpenVINO takes where nobody says.
ROW = 256
OPENVINO = "OpenVINO GenAI"
POLICIES = ("stall_free", "prefill_first", "request_level")


def model(layers: int) -> Any:
    """20.9 M parameters at ten layers, random."""
    import transformers

    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=384, intermediate_size=1024, num_hidden_layers=layers,
        num_attention_heads=6, num_key_value_heads=6, max_position_embeddings=2048,
        pad_token_id=None, bos_token_id=0, eos_token_id=0, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.Qwen2ForCausalLM(config).eval()


def words() -> Any:
    """A tokenizer with as many tokens as the model has; of the text of the standard library."""
    texts = [path.read_text("utf-8", "replace")[:40_000]
             for path in sorted(Path(os.__file__).parent.glob("*.py"))[:60]]  # fmt: skip
    return bpe.train(texts, VOCABULARY)


def now(device: Any) -> float:
    """Seconds of the processor, or of the clock once a device has done what it was given."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def name_of(device: Any) -> str:
    return machine() if device.type == "cpu" else torch.cuda.get_device_name(device)


def spent(device: Any, function: Callable, *arguments: Any) -> float:
    began = now(device)
    function(*arguments)
    return now(device) - began


def padded(theirs: Any, prompts: list[list[int]]) -> None:
    """Keys, values and first logits of all prompts, padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(one)) + one for one in prompts], device=theirs.device)
    mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts],
                        device=theirs.device)  # fmt: skip
    with torch.inference_mode():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        theirs(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True,
               logits_to_keep=1)  # fmt: skip


def sorted_padded(theirs: Any, prompts: list[list[int]]) -> None:
    prompts = sorted(prompts, key=len)
    for begin in range(0, len(prompts), GROUP):
        padded(theirs, prompts[begin : begin + GROUP])


def generated(theirs: Any, prompts: list[list[int]], new: int) -> None:
    with torch.inference_mode():
        ids = torch.tensor(prompts, device=theirs.device)
        theirs.generate(ids, max_new_tokens=new, do_sample=False, eos_token_id=None,
                        pad_token_id=0)  # fmt: skip


def decode(engine: Engine, prompts: list[list[int]], new: int) -> float:
    """Seconds a token, once all prompts have been read."""
    for prompt in prompts:
        engine.submit(prompt, new + 1, GREEDY)
    while any(not live.made for live in (*engine.running, *engine.waiting)):
        engine.step()
    left = sum(live.tokens - len(live.made) for live in engine.running)
    began = now(engine.runner.device)
    while engine.busy:
        engine.step()
    return (now(engine.runner.device) - began) / left


class Times:
    """Seconds by (what, who), and the tables of them."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.missing: dict[tuple[str, str], str] = {}

    def note(self, what: str, who: str, seconds: float | None, reason: str = "") -> None:
        if seconds is None:
            self.missing[what, who] = reason
        else:
            self.found[what, who].append(seconds)

    def median(self, what: str, who: str) -> float:
        return statistics.median(self.found[what, who])

    def table(self, beside: str) -> dict[str, float]:
        """Print it; how many times as long as `beside` everybody takes."""
        ratios = {}
        print(f"{'':<22} {'who':<18} {'median':>10} {'spread':>7} {'over ' + beside:>12}")
        for (what, who), seconds in self.found.items():
            median, spread = self.median(what, who), max(seconds) / max(min(seconds), 1e-9)
            ratio = median / self.median(what, beside) if (what, beside) in self.found else 1.0
            print(f"{what:<22} {who:<18} {median * 1e3:>7.2f} ms {spread:>7.2f} {ratio:>12.2f}")
            if who != beside:
                ratios[f"{what}: {who}"] = round(ratio, 3)
        for (what, who), reason in self.missing.items():
            print(f"{what:<22} {who:<18} {reason}")
        return ratios


def prefill_table(times: Times, ours: Engine, theirs: Any, rng: Any, name: str = "tilth") -> None:
    for what, lengths in LENGTHS.items():
        prompts = [rng.integers(1, VOCABULARY, length).tolist() for length in lengths]
        times.note(what, name, spent(theirs.device, ours.complete, prompts, 1, GREEDY))
        times.note(what, "padded", spent(theirs.device, padded, theirs, prompts))
        times.note(what, "sorted, padded", spent(theirs.device, sorted_padded, theirs, prompts))


def decode_table(times: Times, ours: Engine, theirs: Any, rng: Any, new: int,
                 peers: dict[str, Peer]) -> None:  # fmt: skip
    for batch in DECODE:
        prompts = rng.integers(1, VOCABULARY, (batch, PROMPT)).tolist()
        what = f"decode, batch {batch}"
        times.note(what, "tilth", decode(ours, prompts, new))
        first, whole = (spent(theirs.device, generated, theirs, prompts, n) for n in (1, new + 1))
        times.note(what, "generate", (whole - first) / (new * batch))
        for who, peer in peers.items():
            took = [peer.seconds(prompts, n) for n in (1, new + 1)]
            each = None if None in took else (took[1] - took[0]) / (new * batch)
            times.note(what, who, each, peer.reason)


def equal_share(one: Engine, other: Engine, rng: Any) -> float:
    """Of the greedy tokens of 16 prompts, those that both give, up to the first that differs."""
    prompts = rng.integers(1, VOCABULARY, (16, PROMPT)).tolist()
    same = 0
    for a, b in zip(one.complete(prompts, 16, GREEDY), other.complete(prompts, 16, GREEDY)):
        differ = [left != right for left, right in zip(a.ids, b.ids)]
        same += differ.index(True) if True in differ else len(differ)
    return same / (16 * 16)


def load_table(fresh: Callable[[str], Engine], policies: Sequence[str], count: int, repeats: int,
               openvino: Peer | None) -> dict[str, Any]:  # fmt: skip
    """Loads of real lengths, answers and prompts in tokens of four letters: medians over repeats,
    which take turns. The stream is the same for all: 0.7 of the requests a second that the first
    policy answered in its closed loads."""
    found: dict[str, Any] = {}
    print(f"{'load':<12} {'policy':<14} {'':<8} {'tokens/s':>9} {'spread':>7} {'P50 gap':>8} "
          f"{'P99 gap':>8} {'spread':>7} {'P50 first':>9}")  # fmt: skip
    for name in ("gsm8k", "mts-dialog"):
        try:
            texts, _ = pairs(name)
        except DataError as error:
            print(f"{name:<12} {error}")
            continue
        rng = np.random.default_rng(0)
        picked = [texts[n] for n in rng.choice(len(texts), count, replace=False)]
        lengths = [(min(1000, 1 + len(ask) // 4), min(200, 1 + len(answer) // 4))
                   for ask, answer in picked]  # fmt: skip
        prompts = [rng.integers(1, VOCABULARY, length).tolist() for length, _ in lengths]
        names = list(policies)
        if openvino is not None and not openvino.reason:
            names.append(OPENVINO)
        seen: dict[tuple[str, str], list[Any]] = defaultdict(list)
        # What is compiled at its first use is not in anybody's time.
        serve(Real(fresh(policies[0]), prompts.__getitem__), arriving(lengths[:2], [0.0, 0.0]))
        for kind in ("closed", "open"):
            times = [0.0] * count
            if kind == "open":
                closed = [each.seconds for each in seen[policies[0], "closed"]]
                times = poisson(0.7 * count / statistics.median(closed), count, 1)
            for _ in range(repeats):
                for who in names:
                    if who == OPENVINO:
                        server: Any = PeerServer(openvino, prompts)
                    else:
                        one = fresh(who)
                        server = Real(one, prompts.__getitem__,
                                      clock=partial(now, one.runner.device))  # fmt: skip
                    served = serve(server, arriving(lengths, times),
                                   16 if kind == "closed" else None)  # fmt: skip
                    seen[who, kind].append(served.metrics())
        for (who, kind), each in seen.items():
            fields = ("throughput", "tbt_p50", "tbt_p99", "ttft_p50")
            values = {field: [getattr(one, field) for one in each] for field in fields}
            rate, gap, tail, first = (statistics.median(values[field]) for field in fields)
            spreads = [max(values[field]) / max(1e-9, min(values[field])) for field in fields]
            print(f"{name:<12} {who:<14} {kind:<8} {rate:>9.1f} {spreads[0]:>7.2f} "
                  f"{gap * 1e3:>5.0f} ms {tail * 1e3:>5.0f} ms {spreads[2]:>7.2f} "
                  f"{first:>7.2f} s")  # fmt: skip
            found[f"{name}, {who}, {kind}"] = {
                "tokens_a_second": round(rate, 1), "p99_gap_ms": round(tail * 1e3, 1),
                "spreads": [round(spreads[0], 2), round(spreads[2], 2)],
            }  # fmt: skip
        if openvino is not None and openvino.reason:
            print(f"{name:<12} {OPENVINO:<14} {openvino.reason}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--table", action="append", choices=TABLES, help="default: all")
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--new", type=int, default=64, help="tokens decoded")
    parser.add_argument("--requests", type=int, default=32, help="of each load")
    parser.add_argument("--policy", action="append", choices=POLICIES, help="default: all")
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments")
    parser.add_argument("--no-peers", action="store_true", help="transformers only")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...; peers have cpu")
    given = parser.parse_args()
    given.no_peers |= given.device != "cpu"
    tables = given.table or TABLES
    torch.set_num_threads(1)
    theirs, tokenizer, rng = model(given.layers), words(), np.random.default_rng(0)
    theirs = theirs.to(given.device)

    def engine(policy: str, row: int = 1024, **options: Any) -> Engine:
        # No sharing: every repeat is to read everything.
        return Engine(theirs, tokenizer, policy=policy, row=row, share=False,
                      device=given.device, **options)  # fmt: skip

    figures: dict[str, Any] = {
        "machine": name_of(theirs.device),
        "parameters": sum(p.numel() for p in theirs.parameters()),
        "repeats": given.repeats, "versions": {"torch": torch.__version__},
    }  # fmt: skip
    gates: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as place:
        peers = {}
        if not given.no_peers and {"decode", "load"} & set(tables):
            from tilth.models.folder import save_model

            bpe.save(tokenizer, Path(place) / "tokens")
            save_model(theirs, Path(place) / "model", Path(place) / "tokens")
            # The class that AutoTokenizer takes for Qwen2 adds these two where they are not named,
            # one token more than the model has.
            stated = Path(place) / "model" / "tokenizer_config.json"
            named = {"unk_token": "<|end|>", "pad_token": "<|end|>"}
            stated.write_text(json.dumps(json.loads(stated.read_text()) | named))
            rows = ROWS if "decode" in tables else (OPENVINO,)
            peers = {row: Peer(row, Path(place) / "model", given.peers) for row in rows}
            figures["versions"] |= {row: peer.version or peer.reason
                                    for row, peer in peers.items()}  # fmt: skip
        times, half = Times(), Times()
        ours = engine("prepacked")
        if "bf16" in tables:
            import copy

            theirs16, ours16 = (copy.deepcopy(theirs).to(torch.bfloat16),
                                engine("prepacked", dtype="bfloat16"))  # fmt: skip
        # What is compiled at its first use is not in anybody's time.
        decode(ours, [[1, 2, 3]], 2)
        for _ in range(given.repeats):
            if "prefill" in tables:
                prefill_table(times, ours, theirs, rng)
            if "decode" in tables:
                decode_table(times, ours, theirs, rng, given.new, peers)
            if "bf16" in tables:
                if given.device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
                    prefill_table(half, ours16, theirs16, rng)
                decode_table(half, ours16, theirs16, rng, given.new, {})
        figures["over_tilth"] = times.table("tilth")
        if "bf16" in tables:
            print("\nbfloat16")
            figures["bf16_over_tilth"] = half.table("tilth")
            figures["bf16_equal_tokens"] = round(equal_share(ours, ours16, rng), 3)
            print(f"greedy tokens equal to float32's: {figures['bf16_equal_tokens']:.1%}")
        if "load" in tables:
            print()
            openvino = peers.get(OPENVINO)
            fresh = partial(engine, row=ROW)
            figures["load"] = load_table(
                fresh, given.policy or POLICIES, given.requests, given.repeats, openvino
            )
        for peer in peers.values():
            peer.close()
    if "prefill" in tables:
        gates |= {what: figures["over_tilth"][f"{what}: padded"] >= gate
                  for what, gate in PREFILL.items()}  # fmt: skip
    if "decode" in tables:
        for batch, gate in DECODE.items():
            what = f"decode, batch {batch}"
            gates[what] = figures["over_tilth"][f"{what}: generate"] >= gate
    print()
    for what, met in gates.items():
        print(f"{what:<22} {'pass' if met else 'MISS'}")
    figures["gates"] = {what: "pass" if met else "MISS" for what, met in gates.items()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
