"""Short replies to messages: one apt reply for each intent."""
import pathlib
import re

import chats
import knowledge

SLOTS = {
    "meal": "lunch|dinner|breakfast|coffee|tea|brunch|drinks|the film|the concert|a walk",
    "day": "tomorrow|today|tonight|on Monday|on Tuesday|on Wednesday|on Thursday|on Friday|on Saturday|on Sunday|"
           "this evening|next week|this weekend|this afternoon|tomorrow morning",
    "time": "noon|one|two|three|four|five|six|seven|eight|9 am|10:30|3 pm|half past six|5 o'clock",
    "place": "station|airport|park|museum|cinema|beach|library|office|café|hotel|market|pool|theatre|school",
    "minutes": "5|10|15|20|30|40|ten|twenty|a few",
    "thing": "book|flowers|present|camera|bike|car|printer|ladder|phone|garden|computer|cake|lamp|tent|guitar|move",
    "name": "Anna|Ben|Clara|David|Emma|Felix|Greta|Hugo|Ida|Jonas|Kim|Leo|Mia|Nora|Omar|Paul",
    "age": "18|21|25|30|35|40|45|50|60|70",
    "month": "May|June|July|August|September|the spring|the summer|October",
    "paper": "report|slides|contract|draft|invoice|minutes|plan|article|proposal|budget|translation|photos",
    "food": "milk|bread|eggs|coffee|fruit|cheese|rice|water|butter|wine|pasta|salad",
    "city": "Paris|London|Rome|Berlin|Oslo|Madrid|Tokyo|Vienna|Lisbon|Prague|Cairo|Boston",
}
ASKED = ["Suggest a short reply to: \"{}\"", "Suggest a short reply to: \"{}\"", "Suggest a short reply to: {}",
         "suggest a reply to: \"{}\"", "Reply to this message: \"{}\"", "How should I answer \"{}\"?",
         "Write a short answer to: \"{}\"", "What can I reply to \"{}\"?", "Give me a short reply to: \"{}\"",
         "Somebody wrote: \"{}\" What should I reply?", "Short reply to \"{}\", please."]
OPENERS = ["", "", "", "", "Hi! ", "Hey, ", "Hello, ", "Hi {name}, ", "Dear {name}, ", "Oh, "]


def read(path=pathlib.Path(__file__).with_name("replies.txt")):
    """[(intent, patterns, reply)]"""
    intents, patterns, intent = [], [], None
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.startswith("== "):
            intent, patterns = text[3:], []
        elif text.startswith("> "):
            intents.append((intent, patterns, text[2:]))
        elif text and not text.startswith("#"):
            patterns.append(sorted(knowledge.expansions(text)))
    return intents


INTENTS = read()


def exchange(rng):
    intent, patterns, reply = rng.choice(INTENTS)
    opener, message = rng.choice(OPENERS), rng.choice(rng.choice(patterns))
    if opener.endswith(", ") and not re.match(r"I\b|\{", message):
        message = message[0].lower() + message[1:]
    message = opener + message
    message = re.sub(r"\{(\w+)\}", lambda found: rng.choice(SLOTS[found[1]].split("|")), message)
    if rng.random() < 0.15:
        message = message.lower()
    if rng.random() < 0.15:
        message = message.rstrip(".?!")
    question = rng.choice(ASKED).format(message)
    return chats.Exchange(question, reply, f"The message is about {intent}.", chats.plain(message))


def held_out(rng, count):
    """Messages that have a slot: a fixed sentence is learned, not guessed."""
    fixed = {chats.plain(text) for _, patterns, _ in INTENTS for texts in patterns for text in texts if "{" not in text}
    return chats.distinct(lambda: exchange(rng), count, lambda one: one.key not in fixed)
