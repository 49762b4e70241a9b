"""Chats of two to ten turns in which everything nano can do follows on anything else, and some of it looks back."""
import arithmetic
import chats
import everyday
import knowledge
import replies
import smalltalk
import spelling

TURNS = range(2, 11)
TURN_WEIGHTS = (22, 20, 15, 12, 10, 8, 6, 4, 3)
KINDS = [(arithmetic.exchange, 24), (knowledge.exchange, 20), (everyday.exchange, 26), (smalltalk.exchange, 8),
         (replies.exchange, 7), (spelling.exchange, 7)]
MY_NAME = ["What is my name?", "What's my name?", "Do you know my name?", "Who am I?", "What am I called?",
           "Do you remember my name?", "Do you still know my name?"]
REPEAT = ["Repeat that.", "Say that again.", "Again, please.", "Can you repeat that?", "What did you say?",
          "Once more, please.", "Please say that again.", "Pardon, what was that?"]
NAME_UNKNOWN = "You did not tell me your name."
NAMED = ["My name is {}.", "I am {}.", "I'm {}.", "Hello, I am {}.", "Hi, my name is {}!", "{} is my name.", "This is {}."]
FOLLOWING = {"+": ["plus {}", "+ {}", "And {} more?", "Add {}.", "and plus {}?", "Now add {}.", "plus {}?", "+{}"],
             "-": ["minus {}", "- {}", "Subtract {}.", "And minus {}?", "Now take away {}.", "less {}", "-{}"],
             "x": ["times {}", "x {}", "Multiply that by {}.", "And times {}?", "* {}", "Now times {}."]}


def following(rng, before):
    """A sum that goes on from the result before, or nothing where that is too large."""
    sign, number = rng.choice("++-x"), arithmetic.number(rng, (3, 5, 2))
    if sign == "x":
        number %= 100
    largest = 999 if sign == "x" else 9999
    if not 0 <= before <= largest or (sign == "-" and number > before):
        return None
    steps, result = arithmetic.working([before, number], sign)
    return chats.Exchange(rng.choice(FOLLOWING[sign]).format(number), str(result), steps, tuple(sorted((before, number))))


def turn(rng, turns, called):
    """The next exchange after `turns` with somebody who said to be `called`, if they did."""
    kind = rng.random()
    if kind < 0.04:
        answer = f"Your name is {called}." if called else NAME_UNKNOWN
        return chats.Exchange(everyday.typed(rng, rng.choice(MY_NAME)), answer, "The name that was told.")
    if kind < 0.08 and turns:
        return chats.Exchange(everyday.typed(rng, rng.choice(REPEAT)), turns[-1].answer, "The same once more.")
    if kind < 0.2 and turns and isinstance(turns[-1].key, tuple):
        found = following(rng, int(turns[-1].answer))
        if found:
            return found
    kinds, weights = zip(*KINDS)
    return rng.choices(kinds, weights)[0](rng)


def sample(rng, thinks):
    """(line, keys); sums are worked out, whatever the other turns do."""
    count, turns, called = rng.choices(TURNS, TURN_WEIGHTS)[0], [], None
    if rng.random() < 0.4:
        turns.append(smalltalk.exchange(rng, "English" if rng.random() < 0.7 else None))
    introduced = rng.randrange(count) if rng.random() < 0.3 else None
    while len(turns) < count:
        if introduced == len(turns) and len(turns) + 1 < count:
            called = everyday.name(rng)
            said = rng.choice(NAMED).format(called)
            turns.append(chats.Exchange(said, f"Hello, {called}! How can I help you?", "Small talk."))
            continue
        if called and len(turns) + 1 == count and rng.random() < 0.3:
            turns.append(chats.Exchange(everyday.typed(rng, rng.choice(MY_NAME)), f"Your name is {called}.",
                                        "The name that was told."))
            continue
        turns.append(next_turn := turn(rng, turns, called))
        if next_turn.answer.startswith("Hello, ") and next_turn.answer.endswith("! How can I help you?"):
            called = next_turn.answer[len("Hello, "):].split("!")[0]
    thinking = rng.random() < (0.92 if isinstance(turns[-1].key, tuple) else thinks)
    messages = []
    for one in turns:
        messages += [chats.user(one.question), chats.assistant(one.answer)]
    messages[-1] = chats.assistant(turns[-1].answer, turns[-1].reasoning)
    return chats.line(rng, "dialogue", messages, thinking), [one.key for one in turns]
