"""A peer of `serve.py` in its own environment: a job a line on standard input, an answer a line.

A job: {"prompts": [[ids]], "new": tokens}; its answer: {"seconds": of CPU}. Of OpenVINO also
requests as they come: {"add": [ids], "new": tokens, "number"}, and {"step": true}, whose answer has
"gave", the numbers of the requests that got a token, and "over", of those that are done. The first
line names the peer: {"peer", "folder", "made", "type"}; the first answer: {"version"} or
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

        eight = None
        if given["type"] == "int8":
            from optimum.intel import OVConfig, OVWeightQuantizationConfig

            eight = OVConfig(quantization_config=OVWeightQuantizationConfig(bits=8))
        main_export(given["folder"], given["made"], task="text-generation-with-past",
                    convert_tokenizer=True, ov_config=eight)  # fmt: skip
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    cache = openvino_genai.SchedulerConfig()
    cache.cache_size = 1
    cache.enable_prefix_caching = False
    pipeline = openvino_genai.ContinuousBatchingPipeline(given["made"], cache, "CPU", settings, {})

    handles = {}

    def wanted(prompt, new):
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = new, True, False
        return openvino.Tensor(np.array([prompt], np.int64)), config

    def run(prompts, new):
        tensors, configs = zip(*(wanted(prompt, new) for prompt in prompts))
        pipeline.generate(list(tensors), list(configs))

    def add(prompt, new, number):
        handles[number] = pipeline.add_request(number, *wanted(prompt, new))

    def step():
        pipeline.step()
        gave, over = [], []
        for number, handle in list(handles.items()):
            while handle.can_read():
                gave += [number for one in handle.read().values() for _ in one.generated_ids]
            if handle.get_status() != openvino_genai.GenerationStatus.RUNNING:
                over.append(number)
                del handles[number]
        return {"gave": gave, "over": over}

    run.add, run.step = add, step
    return run


def llama(given):
    import llama_cpp as lib
    import numpy as np

    if not os.path.isfile(given["made"]):
        gguf_file(given["folder"], given["made"], given["type"])
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(given["made"].encode(), lib.llama_model_default_params())
    settings = lib.llama_context_default_params()
    settings.n_threads = settings.n_threads_batch = 1
    settings.n_seq_max, settings.n_ctx, settings.n_batch = 16, 16 * 512, 1024
    context = lib.llama_init_from_model(model, settings)
    if not context:
        raise RuntimeError("llama.cpp gives no context")
    vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    batch = lib.llama_batch_init(settings.n_batch, 0, 1)

    def decode(rows):
        """rows: (token, position, sequence, whether its logits are wanted); the likeliest next."""
        batch.n_tokens = len(rows)
        for place, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[place], batch.pos[place], batch.logits[place] = token, position, wanted
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
        if lib.llama_decode(context, batch):
            raise RuntimeError("llama.cpp cannot decode this row")
        found = []
        for place, (*_, wanted) in enumerate(rows):
            if wanted:
                logits = lib.llama_get_logits_ith(context, place)
                found.append(int(np.ctypeslib.as_array(logits, (vocabulary,)).argmax()))
        return found

    def run(prompts, new):
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        made = decode([(token, position, sequence, position == len(prompt) - 1)
                       for sequence, prompt in enumerate(prompts)
                       for position, token in enumerate(prompt)])  # fmt: skip
        for step in range(new - 1):
            made = decode([(token, len(prompts[sequence]) + step, sequence, True)
                           for sequence, token in enumerate(made)])  # fmt: skip

    return run


def gguf_file(folder, path, kind):
    """The weights of a Qwen2 folder as llama.cpp's file, without a vocabulary: ids go in and out.
    Matrices in float32 or, as int8, in its blocks of 32 with a scale each (Q8_0)."""
    import gguf
    from safetensors.numpy import load_file

    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = config.get("rope_parameters") or config
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for name, tensor in tensors.items():
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if ours is None:
            raise RuntimeError(f"llama.cpp has no name for {name}")
        if kind == "int8" and tensor.ndim == 2:
            eight = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(ours, gguf.quants.quantize(tensor, eight), raw_dtype=eight)
        else:
            writer.add_tensor(ours, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


PEERS = {"ctranslate2": ctranslate2, "openvino": openvino, "llama": llama}
VERSION_OF = {"ctranslate2": "ctranslate2", "openvino": "openvino-genai",
              "llama": "llama-cpp-python"}  # fmt: skip


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
            said = {}
            if "add" in job:
                run.add(job["add"], job["new"], job["number"])
            elif "step" in job:
                said = run.step()
            else:
                run(job["prompts"], job["new"])
            say({"seconds": time.process_time() - began, **said})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    main()
