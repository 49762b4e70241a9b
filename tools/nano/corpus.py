#!/usr/bin/env python3
"""Writes the texts that nano is trained and judged on: train.jsonl, valid.jsonl and eval/*.jsonl in a folder.

A line is a chat as mlx_lm reads it, {"messages": [...], "tools": [...]}, with two keys of ours: "chat_template_kwargs"
says whether the model is to think, "category" which task it is. What is learned is the last message. In an evaluation
that is the answer to compare with, and has no thinking. Same seed, same bytes.
"""
import argparse
import json
import pathlib
import random

import arithmetic
import chats
import dialogue
import everyday
import functions
import knowledge
import replies
import smalltalk
import spelling

# Lines of the corpora and which part of them thinks: the first teaches sums above all, the second facts, the third to chat;
# the fourth goes through the facts again.
LINES = {
    "first": {"arithmetic": (34000, 0.92), "knowledge": (18000, 0.5), "greetings": (9000, 0.5), "replies": (11000, 0.5),
              "spelling": (12000, 0.7), "tools": (10000, 0.5), "conversation": (3500, 0.6)},
    "second": {"arithmetic": (5000, 0.92), "knowledge": (34000, 0.5), "greetings": (3000, 0.5), "replies": (3000, 0.5),
               "spelling": (10000, 0.7), "tools": (10000, 0.5), "conversation": (1500, 0.6)},
    "third": {"arithmetic": (7000, 0.92), "knowledge": (9000, 0.5), "greetings": (3000, 0.5), "replies": (3000, 0.5),
              "spelling": (4000, 0.7), "tools": (5000, 0.5), "everyday": (11000, 0.7), "cut_short": (500, 1.0),
              "dialogue": (20000, 0.6)},
    "fourth": {"arithmetic": (2500, 0.92), "knowledge": (17000, 0.5), "greetings": (1500, 0.5), "replies": (1000, 0.5),
               "spelling": (4000, 0.7), "tools": (2500, 0.5), "everyday": (6000, 0.7), "cut_short": (200, 1.0),
               "dialogue": (3500, 0.6)},
}
TASKS = {"arithmetic": arithmetic, "knowledge": knowledge, "greetings": smalltalk, "replies": replies,
         "spelling": spelling, "everyday": everyday}
EVALUATED = {"arithmetic": 300, "knowledge": 300, "greetings": 200, "spelling": 200, "replies": 200, "tools": 200,
             "everyday": 200, "dialogue": 200}
SAMPLES = {"tools": functions.sample, "dialogue": dialogue.sample}
VALID = 400
SMALL = 20  # the small corpus is the first one's twentieth


def conversation(rng, thinks):
    """(line, keys) of a chat of several turns; sums are worked out, whatever the other turns do."""
    others = [arithmetic.exchange, arithmetic.exchange, knowledge.exchange, replies.exchange]
    turns = smalltalk.conversation(rng, others)
    thinking = rng.random() < (0.9 if isinstance(turns[-1].key, tuple) else thinks)
    messages = []
    for turn in turns:
        messages += [chats.user(turn.question), chats.assistant(turn.answer)]
    messages[-1] = chats.assistant(turns[-1].answer, turns[-1].reasoning)
    return chats.line(rng, "conversation", messages, thinking), [turn.key for turn in turns]


def draw(rng, category, thinks):
    """(line, keys) of one task."""
    if category == "conversation":
        return conversation(rng, thinks)
    if category in SAMPLES:
        return SAMPLES[category](rng, thinks)
    exchange = everyday.cut_short(rng) if category == "cut_short" else TASKS[category].exchange(rng)
    return chats.single(rng, category, exchange, rng.random() < thinks), [exchange.key]


def evaluations(rng):
    """{name: lines}, and the keys that the training must avoid, by category."""
    files, keys = {}, {}
    for category, count in EVALUATED.items():
        if category in SAMPLES:
            found = {}
            while len(found) < count:
                line, line_keys = SAMPLES[category](rng, 0.5)
                found.setdefault(line_keys[0] if category == "tools" else tuple(line_keys), line)
            keys[category], files[category] = set(found), list(found.values())
        else:
            exchanges = TASKS[category].held_out(rng, count)
            keys[category] = {exchange.key for exchange in exchanges}
            thinks = [isinstance(one.key, tuple) or at % 2 == 0 for at, one in enumerate(exchanges)]
            files[category] = [chats.single(rng, category, *pair) for pair in zip(exchanges, thinks)]
            if category == "arithmetic":
                files["arithmetic_direct"] = [chats.single(rng, category, exchange, False) for exchange in exchanges]
    for lines in files.values():
        for line in lines:
            line["messages"][-1].pop("reasoning_content", None)
    return files, keys


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def prompt_of(line):
    return json.dumps([message for message in line["messages"][:-1] if message["role"] != "system"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT_DIR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", choices=["small", *LINES], default="first")
    options = parser.parse_args()
    rng = random.Random(options.seed)

    files, held = evaluations(rng)
    avoided = set().union(*held.values())

    def unseen(category):
        while True:
            line, keys = draw(rng, category, lines_of[category][1])
            if not avoided.intersection(keys):
                return line, keys

    part = "first" if options.size == "small" else options.size
    lines_of = LINES[part]
    if part != "first":  # other texts, and the same questions held out
        rng = random.Random(options.seed + list(LINES).index(part))
    categories = [category for category, (lines, _) in lines_of.items() for _ in range(lines)]
    if options.size == "small":
        categories = categories[::SMALL]
    rng.shuffle(categories)
    drawn = [unseen(category) for category in categories]
    train = [line for line, _ in drawn]
    valid = [unseen(rng.choice(categories))[0] for _ in range(VALID)]

    assert not avoided.intersection(key for _, keys in drawn for key in keys)
    prompts = {prompt_of(line) for line in train}
    for name, lines in files.items():
        assert not any(prompt_of(line) in prompts for line in lines), name
        write(options.out / "eval" / f"{name}.jsonl", lines)
    write(options.out / "train.jsonl", train)
    write(options.out / "valid.jsonl", valid)
    for name, lines in [("train", train), ("valid", valid), *files.items()]:
        print(f"{name:18} {len(lines):6} lines {sum(len(chats.render(line)) for line in lines):9} characters")


if __name__ == "__main__":
    main()
