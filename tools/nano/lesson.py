#!/usr/bin/env python3
"""Writes a lesson for a LoRA on nano, in a folder: train.jsonl of what lesson.txt tells, valid.jsonl and test.jsonl of
questions held out, one and a quarter of each fact's. With --review, lines of nano's own corpus are among
those of train.jsonl, so that the rest is kept. Same seed, same bytes.
"""
import argparse
import json
import pathlib
import random

import chats
import corpus
import knowledge


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT_DIR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--review", type=pathlib.Path, metavar="TRAIN_JSONL", help="corpus.py's train.jsonl")
    parser.add_argument("--lines", type=int, default=6000, help="of it")
    parser.add_argument("--facts", type=int, default=99, help="how many of the lesson's, from the first")
    options = parser.parse_args()
    rng = random.Random(options.seed)

    def line(topic, question, answer, thinks):
        return chats.single(rng, "lesson", chats.Exchange(question, answer, f"About {topic}."), thinks)

    files = {"train": [], "valid": [], "test": []}
    for topic, questions, answer in knowledge.read(pathlib.Path(__file__).with_name("lesson.txt"))[:options.facts]:
        rng.shuffle(questions)
        held = len(questions) // 4
        for at, question in enumerate(questions):
            if at == 0:
                files["valid"].append(line(topic, question, answer, True))
            elif at <= held:
                held_line = line(topic, question, answer, at % 2 == 0)
                held_line["messages"][-1].pop("reasoning_content", None)
                files["test"].append(held_line)
            else:
                texts = [question] + [knowledge.decorated(rng, question) for _ in range(3)]
                files["train"] += [line(topic, text, answer, thinks) for text in texts for thinks in (True, False)]
    if options.review:
        lines = options.review.read_text(encoding="utf-8").splitlines()
        files["train"] += map(json.loads, rng.sample(lines, options.lines))
    rng.shuffle(files["train"])
    for name, lines in files.items():
        corpus.write(options.out / f"{name}.jsonl", lines)
        print(f"{name:6} {len(lines):5} lines")


if __name__ == "__main__":
    main()
