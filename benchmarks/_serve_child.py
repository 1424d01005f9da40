"""A peer of `serve.py` in its own environment: a job a line on standard input, an answer a line.

A job: {"prompts": [[ids]], "new": tokens or [tokens of each]}; its answer: {"seconds": of CPU}.
The first line names the peer: {"peer", "folder", "made", "type"}; the first answer: {"version"} or
{"error"}. Alone it does nothing.
"""

import json
import os
import sys
import time
from importlib import metadata

os.environ["OMP_NUM_THREADS"] = "1"


def ctranslate2(given):
    import ctranslate2
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoTokenizer

    # Floats are kept as they are; int8 is made from them when the file is read.
    if not os.path.isdir(given["made"]):
        TransformersConverter(given["folder"]).convert(given["made"])
    words = AutoTokenizer.from_pretrained(given["folder"])
    generator = ctranslate2.Generator(
        given["made"], device="cpu", compute_type=given["type"], inter_threads=1, intra_threads=1
    )

    def run(prompts, new):
        texts = [words.convert_ids_to_tokens(prompt) for prompt in prompts]
        generator.generate_batch(
            texts, max_length=new, min_length=new, sampling_topk=1, include_prompt_in_result=False
        )

    return run


def openvino(given):
    import numpy as np
    import openvino
    import openvino_genai

    if not os.path.isdir(given["made"]):
        from optimum.exporters.openvino import main_export

        main_export(given["folder"], given["made"], task="text-generation-with-past",
                    convert_tokenizer=True, ov_config=None)  # fmt: skip
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    cache = openvino_genai.SchedulerConfig()
    cache.cache_size = 1
    cache.enable_prefix_caching = False
    pipeline = openvino_genai.ContinuousBatchingPipeline(given["made"], cache, "CPU", settings, {})

    def run(prompts, new):
        lengths = new if isinstance(new, list) else [new] * len(prompts)
        configs = []
        for length in lengths:
            config = openvino_genai.GenerationConfig()
            config.max_new_tokens, config.ignore_eos, config.do_sample = length, True, False
            configs.append(config)
        tensors = [openvino.Tensor(np.array([prompt], np.int64)) for prompt in prompts]
        pipeline.generate(tensors, configs)

    return run


PEERS = {"ctranslate2": ctranslate2, "openvino": openvino}
VERSION_OF = {"ctranslate2": "ctranslate2", "openvino": "openvino-genai"}


def main():
    # What libraries print goes to standard error; answers have standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(what):
        print(json.dumps(what), file=answers, flush=True)

    given = json.loads(sys.stdin.readline())
    try:
        run = PEERS[given["peer"]](given)
        say({"version": metadata.version(VERSION_OF[given["peer"]])})
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"[:300]})
        return
    for line in sys.stdin:
        job = json.loads(line)
        began = time.process_time()
        try:
            run(job["prompts"], job["new"])
            say({"seconds": time.process_time() - began})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    main()
