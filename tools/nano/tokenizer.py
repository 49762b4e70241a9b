#!/usr/bin/env python3
"""Learns nano's tokenizer from a corpus and writes the folder of a model without its weights.

Byte-level BPE with Qwen's way to cut a text into words (each digit is one). Written are tokenizer.json,
tokenizer_config.json with chat_template.jinja, config.json and generation_config.json. Statistics of the corpus follow.
"""
import argparse
import collections
import functools
import json
import pathlib
import re
import subprocess
import sys
import unicodedata

import chats

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
# The first three are invisible where a text is shown.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>",
           "</tool_response>", "<think>", "</think>"]
END_OF_TEXT, IM_START, IM_END = 256, 257, 258
SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def characters(kind):
    """The Unicode characters of a general category (L, N) as the inside of a class of `re`, which has no \\p."""
    ranges, start = [], None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code))[0] == kind
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            ranges.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    return "".join(ranges)


def python_expression():
    """SPLIT in the dialect of `re`: what it names is written out, in a class as it is, outside as a class."""
    sets = {r"\p{L}": characters("L"), r"\p{N}": characters("N"), r"\s": SPACES}
    out, in_class = [], False
    for piece in re.findall(r"\\p\{.\}|\\.|.", SPLIT):
        if piece == r"\S":
            out.append(f"[^{SPACES}]")
        elif piece in sets:
            out.append(sets[piece] if in_class else f"[{sets[piece]}]")
        else:
            out.append(piece)
            in_class = piece == "[" or in_class and piece != "]"
    return re.compile("".join(out))


def byte_letters():
    """The letter that stands for each byte in tokenizer.json: itself where it can be seen, else one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + at) for at, byte in enumerate(hidden)}


LETTERS = byte_letters()


def symbols(word):
    return tuple(LETTERS[byte] for byte in word.encode("utf-8"))


def learn(counts, wanted):
    """The `wanted` most worthwhile merges of words that occur so many times; of equal ones the alphabet's last."""
    words = [list(symbols(word)) for word in counts]
    weights = list(counts.values())
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for at, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += weights[at]
            where[pair].add(at)
    merges, known = [], set()
    while len(known) < wanted and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        known.add("".join(best))
        for at in where.pop(best):
            word = words[at]
            for pair in zip(word, word[1:]):
                pairs[pair] -= weights[at]
            words[at] = word = merged(word, best)
            for pair in zip(word, word[1:]):
                pairs[pair] += weights[at]
                where[pair].add(at)
        pairs = +pairs
    return merges


def merged(word, pair):
    out, at = [], 0
    while at < len(word):
        both = tuple(word[at:at + 2]) == pair
        out.append("".join(pair) if both else word[at])
        at += 2 if both else 1
    return out


class Tokenizer:
    def __init__(self, merges=()):
        self.split, self.special = python_expression(), re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")
        self.merges = list(merges)
        self.rank = {pair: at for at, pair in enumerate(self.merges)}
        texts = [LETTERS[byte] for byte in range(256)]
        self.vocab = {text: at for at, text in enumerate(texts)}
        for a, b in self.merges:
            self.vocab.setdefault(a + b, len(self.vocab) + len(SPECIAL))
        self.ids_of = functools.lru_cache(None)(self.ids_of_word)

    @property
    def size(self):
        return len(self.vocab) + len(SPECIAL)

    def words(self, text):
        """A text cut at special tokens and into words."""
        for piece in self.special.split(text):
            if piece in SPECIAL:
                yield piece
            else:
                yield from self.split.findall(unicodedata.normalize("NFC", piece))

    def ids_of_word(self, word):
        if word in SPECIAL:
            return [END_OF_TEXT + SPECIAL.index(word)]
        pieces = list(symbols(word))
        while len(pieces) > 1:
            best = min(zip(pieces, pieces[1:]), key=lambda pair: self.rank.get(pair, len(self.rank)))
            if best not in self.rank:
                break
            pieces = merged(pieces, best)
        return [self.vocab[piece] for piece in pieces]

    def encode(self, text):
        return [token for word in self.words(text) for token in self.ids_of(word)]


def special_tokens():
    """[(id, what both files say of it)]"""
    return [(END_OF_TEXT + at, {"content": text, "single_word": False, "lstrip": False, "rstrip": False,
                                "normalized": False, "special": at < 3}) for at, text in enumerate(SPECIAL)]


def tokenizer_json(tokenizer):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": token, **flags} for token, flags in special_tokens()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": tokenizer.vocab, "merges": [list(pair) for pair in tokenizer.merges]},
    }


def tokenizer_config(template):
    return {
        "add_bos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {str(token): flags for token, flags in special_tokens()},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": None, "chat_template": template,
        "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 2048,
        "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def config(size):
    return {
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": END_OF_TEXT, "eos_token_id": IM_END, "head_dim": 64, "hidden_act": "silu", "hidden_size": 256,
        "initializer_range": 0.02, "intermediate_size": 640, "max_position_embeddings": 2048, "max_window_layers": 4,
        "model_type": "qwen3", "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "rope_scaling": None, "rope_theta": 10000, "sliding_window": None,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": True,
        "use_sliding_window": False, "vocab_size": (size + 63) // 64 * 64,
    }


def generation_config():
    return {"bos_token_id": END_OF_TEXT, "do_sample": False, "eos_token_id": [IM_END, END_OF_TEXT],
            "pad_token_id": END_OF_TEXT, "temperature": 0.0, "transformers_version": "4.51.0"}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def chats_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def learned_text(text):
    """What the last turn of a rendered chat adds: what is learned."""
    return text[text.rindex("<|im_start|>assistant\n") + len("<|im_start|>assistant\n"):]


def report(tokenizer, lines):
    """A row for each category: lines, tokens, what is learned of them, the longest line."""
    rows = collections.defaultdict(list)
    for line in lines:
        text = chats.render(line)
        rows[line["category"]].append((len(tokenizer.encode(text)), len(tokenizer.encode(learned_text(text)))))
    rows["all"] = [row for group in rows.values() for row in group]
    total = sum(tokens for tokens, _ in rows["all"])
    print(f"{'category':14} {'lines':>6} {'tokens':>8} {'share':>6} {'learned':>8} {'mean':>6} {'max':>5} "
          f"{'max learned':>11}")
    for category, group in rows.items():
        tokens, learned = sum(row[0] for row in group), sum(row[1] for row in group)
        print(f"{category:14} {len(group):6} {tokens:8} {100 * tokens / total:5.1f}% {learned:8} "
              f"{tokens / len(group):6.1f} {max(row[0] for row in group):5} {max(row[1] for row in group):11}")


def check(tokenizer, binary, folder, texts):
    """Compares with the ids that the program finds; a difference ends the script."""
    for text in texts:
        run = subprocess.run([binary, "tokenize", "--model", folder, "--prompt", "-", "--special", "--json"],
                             input=text.encode(), capture_output=True, check=True)
        theirs, ours = json.loads(run.stdout), tokenizer.encode(text)
        if theirs != ours:
            sys.exit(f"{text!r}: found {theirs}, expected {ours}")
    print(f"{len(texts)} texts: the same ids as {binary}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=pathlib.Path, metavar="CORPUS_DIR")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT_MODEL_DIR")
    parser.add_argument("--vocab", type=int, default=2048, help="tokens in all, bytes and special ones included")
    parser.add_argument("--check", metavar="BINARY", help="an inkstone that must find the same ids")
    options = parser.parse_args()

    lines = chats_of(options.corpus / "train.jsonl")
    counts = collections.Counter()
    tokenizer = Tokenizer()
    for line in lines:
        counts.update(tokenizer.words(chats.render(line)))
    for text in SPECIAL:
        counts.pop(text, None)
    tokenizer = Tokenizer(learn(counts, options.vocab - 256 - len(SPECIAL)))

    options.out.mkdir(parents=True, exist_ok=True)
    template = pathlib.Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
    write(options.out / "tokenizer.json", tokenizer_json(tokenizer))
    write(options.out / "tokenizer_config.json", tokenizer_config(template))
    write(options.out / "config.json", config(tokenizer.size))
    write(options.out / "generation_config.json", generation_config())
    print(f"{len(counts)} different words, {tokenizer.size} tokens")
    report(tokenizer, lines)
    if options.check:
        valid = chats_of(options.corpus / "valid.jsonl")
        check(tokenizer, options.check, options.out, [chats.render(line) for line in valid[:200]])


if __name__ == "__main__":
    main()
