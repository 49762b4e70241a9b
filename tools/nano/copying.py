"""What cannot be known by heart and must be copied: texts to repeat, lists of words with slips, names told before."""
import chats
import dialogue
import everyday
import functions
import knowledge
import smalltalk
import spelling

WORDS = sorted({word.lower() for sentence in everyday.SENTENCES for word in sentence.split() if word.isalpha()}
               | {right for right, _, _ in spelling.WORDS} | set(spelling.WHAT) | set(spelling.HOW) | set(spelling.DOES)
               | {thing for thing in knowledge.TOPICS["topic"].split("|") if " " not in thing})
ASKED = ["Repeat: {}", "Repeat after me: {}", "Say: {}", "Say \"{}\"", "say {}", "Say {}", "Echo: {}", "Write: {}",
         "Write \"{}\"", "Please say \"{}\"", "repeat: {}", "Copy this: {}", "Can you say {}?", "Type {}"]


def some_word(rng):
    kind = rng.random()
    if kind < 0.75:
        return rng.choice(WORDS)
    if kind < 0.9:
        return everyday.name(rng) if rng.random() < 0.7 else rng.choice(functions.CITIES)
    return str(rng.randrange(10**rng.choice((1, 2, 3, 4))))


def echo(rng):
    text = " ".join(some_word(rng) for _ in range(rng.choice((1, 1, 2, 3, 4, 5, 6, 8))))
    return chats.Exchange(rng.choice(ASKED).format(text), text, "I repeat it.")


def word_list(rng):
    """Words in any order, with slips: each is put right by itself."""
    words = [rng.choice(WORDS) for _ in range(rng.choice((1, 2, 3, 4, 5, 6)))]
    places = [at for at, word in enumerate(words) if len(word) > 3]
    chosen = sorted(rng.sample(places, min(len(places), rng.choice((0, 1, 1, 2)))))
    slips = {at: everyday.slip(rng, words[at]) for at in chosen}
    wrong = " ".join(slips.get(at, word) for at, word in enumerate(words))
    reasoning = "; ".join(f"{slips[at]} -> {words[at]}" for at in chosen) or "Nothing is wrong."
    return chats.Exchange(rng.choice(everyday.ASKED).format(wrong), " ".join(words), reasoning, chats.plain(wrong))


def introduced(rng):
    """(turns, name): somebody says who they are."""
    called = everyday.name(rng)
    return chats.Exchange(rng.choice(dialogue.NAMED).format(called), f"Hello, {called}! How can I help you?",
                          "Small talk."), called


def recall(rng):
    """Turns that end with the question for the name, told or not."""
    turns, called = [], None
    if rng.random() < 0.7:
        turn, called = introduced(rng)
        turns.append(turn)
    others = [smalltalk.exchange, everyday.exchange, echo]
    turns += [rng.choice(others)(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)) if called else rng.choice((1, 2)))]
    answer = f"Your name is {called}." if called else dialogue.NAME_UNKNOWN
    if called is None and any(one.answer.startswith("Hello, ") for one in turns):
        return recall(rng)
    turns.append(chats.Exchange(everyday.typed(rng, rng.choice(dialogue.MY_NAME)), answer, "The name that was told."))
    return turns


def sample(rng, thinks):
    """(line, keys)"""
    kind = rng.random()
    if kind < 0.4:
        turns = [echo(rng)]
    elif kind < 0.65:
        turns = [word_list(rng)]
    elif kind < 0.75:
        turns = [introduced(rng)[0]]
    else:
        turns = recall(rng)
    messages = []
    for one in turns:
        messages += [chats.user(one.question), chats.assistant(one.answer, one.reasoning)]
    return chats.line(rng, "copying", messages, rng.random() < thinks), [one.key for one in turns]
