"""Greetings and small talk in many languages, and conversations of several turns."""
import pathlib

import chats

FULL_STOPS = {"Japanese": "。", "Chinese": "。", "Hindi": "।"}
QUESTIONS = {"Greek": ";", "Arabic": "؟", "Japanese": "?", "Chinese": "?"}


def read(path=pathlib.Path(__file__).with_name("greetings.txt")):
    """[(language, what users say, answer)]"""
    talk, language, seen = [], None, {}
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.startswith("== "):
            language = text[3:]
        elif text and not text.startswith("#"):
            said, answer = text.split(" > ")
            said = said.split("|")
            for one in said:
                assert seen.setdefault(chats.plain(one), answer) == answer, f"{one}: two answers"
            talk.append((language, said, answer))
    return talk


TALK = read()
LANGUAGES = sorted({language for language, _, _ in TALK})


def decorated(rng, said, language):
    """As people type it: case and punctuation as they come."""
    text = said
    if rng.random() < 0.25:
        text = text.lower()
    elif rng.random() < 0.05:
        text = text.upper()
    question = text.startswith("¿")
    ends = ["", "", "!", ".", "?", "?", "!!", " :)", "...", " 😊"]
    end = rng.choice(ends)
    if end == "?" or question:
        end = QUESTIONS.get(language, "?") if end in ("?", "", "!", ".") else "?" + end
    if end == "." and language in FULL_STOPS:
        end = FULL_STOPS[language]
    if question and rng.random() < 0.3:
        text = text[1:]
    return text + end


def exchange(rng, language=None):
    """Languages are equally frequent, English five times as much."""
    language = language or rng.choice(LANGUAGES + 4 * ["English"])
    _, said, answer = rng.choice([one for one in TALK if one[0] == language])
    text = decorated(rng, rng.choice(said), language)
    return chats.Exchange(text, answer, f"Small talk in {language}.", text)


def held_out(rng, count):
    """What has an unusual case or punctuation. The usual forms must be learned: there is no guessing a language."""
    usual = {said + end for _, all_said, _ in TALK for one in all_said for said in (one, one.lower())
             for end in ("", "!", "?", ".")}
    return chats.distinct(lambda: exchange(rng), count, lambda one: one.key not in usual)


def conversation(rng, others):
    """Exchanges of two to five turns: a greeting perhaps, one or two of `others`, thanks perhaps."""
    language = rng.choice(LANGUAGES + 2 * len(LANGUAGES) * ["English"])
    turns = [exchange(rng, language)] if rng.random() < 0.7 else []
    turns += [rng.choice(others)(rng) for _ in range(rng.choice((1, 1, 2)))]
    if len(turns) == 1 or rng.random() < 0.5:
        turns.append(exchange(rng, language))
    return turns
