#!/usr/bin/env python3
"""Nano's weights before training: weights.py MODEL_DIR [--seed N] reads config.json and writes model.safetensors, bf16.

Matrices are normal with a deviation of 0.5 / sqrt(hidden), those that write into the residual stream smaller by the root
of twice the layers, the embedding 0.08, norms 1.
"""
import argparse
import array
import json
import math
import pathlib
import random
import struct


def tensors(c):
    """Name -> (shape, deviation); deviation None: ones."""
    hidden, width, head = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    query, key = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    inner = 0.5 / math.sqrt(hidden)
    outer = inner / math.sqrt(2 * c["num_hidden_layers"])
    yield "model.embed_tokens.weight", (c["vocab_size"], hidden), 0.08
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (hidden,), None
        yield layer + "post_attention_layernorm.weight", (hidden,), None
        yield layer + "self_attn.q_norm.weight", (head,), None
        yield layer + "self_attn.k_norm.weight", (head,), None
        yield layer + "self_attn.q_proj.weight", (query, hidden), inner
        yield layer + "self_attn.k_proj.weight", (key, hidden), inner
        yield layer + "self_attn.v_proj.weight", (key, hidden), inner
        yield layer + "self_attn.o_proj.weight", (hidden, query), outer
        yield layer + "mlp.gate_proj.weight", (width, hidden), inner
        yield layer + "mlp.up_proj.weight", (width, hidden), inner
        yield layer + "mlp.down_proj.weight", (hidden, width), outer
    yield "model.norm.weight", (hidden,), None


def bf16(values):
    """The bytes of floats rounded to bf16, half up."""
    words = array.array("I", array.array("f", values).tobytes())
    return array.array("H", [(word + 0x8000) >> 16 for word in words]).tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    draw = random.Random(flags.seed)
    header, pieces, offset = {"__metadata__": {"format": "mlx"}}, [], 0
    for name, shape, deviation in tensors(json.loads((flags.model / "config.json").read_text())):
        count = math.prod(shape)
        pieces.append(bf16([1.0] * count if deviation is None else [draw.gauss(0, deviation) for _ in range(count)]))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    text = json.dumps(header).encode()
    (flags.model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(pieces))
    print(f"{offset // 2} weights in {flags.model}/model.safetensors")


if __name__ == "__main__":
    main()
