"""Questions about Inkstone and nano, each with its answer, and questions that nano cannot answer, with one for all."""
import pathlib
import re

import chats

DUNNO = ("I do not know that. I am a tiny demonstration model: I can add, subtract and multiply, correct spelling, "
         "suggest short replies and answer questions about Inkstone.")
ABOVE = "That is too hard for me. I add and subtract up to four digits, and multiply up to three digits by two."
# What anybody may ask a chat program. Topics make many of few.
GENERAL = """
Who won [the world cup|the election|the Nobel prize|the Olympics|the match yesterday|the cup] (in {year})?
[What is|What's|Tell me] the capital of {country}?
[Write|Can you write] (me) [an essay|a poem|a story|a song|a letter|a speech|a report] about {topic}.
[Write|Can you write] (me) a [Python|Java|C++|JavaScript|Rust] [program|function|script] for {topic}.
[Tell|Give] me [a joke|a fun fact|a recipe|some news|advice|a quote] about {topic}.
[Explain|Describe] {topic} (to me).
What do you [know|think] about {topic}?
What is {topic}?
[When|Where] was {person} born?
Who [is|was] {person}?
[Translate|Can you translate] "{topic}" [into|to] {language}.
How many [people|animals] live in {country}?
[How old|How tall|How rich] is {person}?
What [happened|was invented|was the news] in {year}?
What [will happen|is new] [today|tomorrow|this week]?
[Should I|How do I|Where can I] [buy|sell|learn|cook|repair] {topic}?
[Summarise|Summarize] [this book|this article|the news|the plot of a film].
What is the meaning of life?
Recommend (me) [a book|a film|a restaurant|some music|a game] (about {topic}).
What is the [population|currency|president|flag|history] of {country}?
[How far|How long|How hot] is [the moon|the sun|the way to {country}|the Nile]?
Can you [draw|paint|sing|dance|drive|cook] (for me)?
[What is|How is|How will be] the weather [in {country}|today|tomorrow|]?
What [time|day|year] is it (now)?
Which [film|book|team|phone|car|song] is the best?
[Who wrote|Who painted|Who invented|Who discovered] {topic}?
"""
TOPICS = {
    "topic": "history|music|the stars|football|black holes|cats|democracy|the sea|chess|cars|bicycles|the weather|love|"
             "evolution|bread|economics|the French revolution|volcanoes|dinosaurs|poetry|the brain|gravity|gardens|"
             "photography|trains|quantum physics|bees|coffee|the Roman empire|art|sorting numbers|electricity|soup",
    "country": "France|Japan|Brazil|Egypt|Canada|Kenya|Norway|India|Peru|Australia|Poland|Vietnam|Iceland|Morocco|"
               "Chile|Germany|Spain|Italy",
    "person": "Einstein|Napoleon|Cleopatra|Mozart|Shakespeare|Marie Curie|Gandhi|Picasso|Newton|Darwin|Beethoven|"
              "Columbus|Plato",
    "language": "French|German|Latin|Spanish|Japanese|Italian|Russian",
    "year": "1815|1914|1945|1969|1989|1998|2006|2010|2018|2022",
}
# Problems beyond what nano calculates; {n} has as many digits as wanted.
HARD = ["[What is|Calculate|How much is|] {3} [x|*|times] {3}[?|]", "[What is|Calculate|] {4} [x|*|times] {2}[?|]",
        "[What is|Calculate|How much is|] {6} [+|-|plus|minus] {5}[?|]", "Divide {3} by {2}.",
        "[What is|Calculate|] {3} [/|:|divided by] {1}[?|]", "[What is|Calculate|] {1}.{2} [+|-|x] {1}.{1}[?|]",
        "[What is|] {2}% of {3}[?|]", "[What is|] {2} to the power of {1}[?|]", "What is the square root of {3}?",
        "Is {3} a prime number?"]
OPENERS = ["", "", "", "", "Please tell me: ", "Hi, ", "Hey nano, ", "Hello! ", "A question: ", "One more: ",
           "I wonder: ", "Quick question: ", "nano, ", "Sorry, ", "Tell me, "]
CLOSERS = ["", "", "", "", "", " pls", " please", " Thanks!", " Thank you."]


def expansions(pattern):
    """All texts of a pattern of [a|b] and (optional), which nest; white space put right."""
    pieces, at = re.findall(r"[\[\](|)]|[^\[\](|)]+", pattern.replace("@", "[Inkstone|this program]")), 0

    def alternatives(closing):
        nonlocal at
        found, texts = [], [""]
        while at < len(pieces) and pieces[at] not in closing:
            piece = pieces[at]
            at += 1
            if piece == "|":
                found, texts = found + texts, [""]
                continue
            inner = [piece]
            if piece in "[(":
                inner = alternatives("])") + ([""] if piece == "(" else [])
                at += 1
            texts = [text + more for text in texts for more in inner]
        return found + texts

    return {re.sub(r" +(?=[ ?.,]|$)|^ +", "", text) for text in alternatives("")}


def read(path=pathlib.Path(__file__).with_name("facts.txt")):
    """[(topic, all its questions, answer)]; a question may belong to one fact only."""
    facts, owner, topic, questions = [], {}, None, set()
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.startswith("== "):
            topic, questions = text.split(": ", 1)[1], set()
        elif text.startswith("> "):
            for question in questions:
                assert owner.setdefault(chats.plain(question), topic) == topic, f"{question}: two answers"
            facts.append((topic, sorted(questions), text[2:]))
        elif text and not text.startswith("#"):
            questions |= expansions(text)
    return facts


FACTS = read()
GENERAL_PATTERNS = GENERAL.strip().splitlines()


def decorated(rng, text):
    """As people type it: politeness, case, missing punctuation, a slip of the fingers."""
    text = rng.choice(OPENERS) + text
    if rng.random() < 0.3:
        text = text.rstrip("?.")
    text += rng.choice(CLOSERS)
    if rng.random() < 0.25:
        text = text.lower()
    if rng.random() < 0.12:
        at = rng.randrange(1, max(2, len(text) - 1))
        if text[at - 1:at + 2].isalpha():
            text = rng.choice([text[:at] + text[at + 1:], text[:at] + text[at] + text[at:],
                               text[:at - 1] + text[at] + text[at - 1] + text[at + 1:]])
    return text


def unanswerable(rng):
    pattern = rng.choice(GENERAL_PATTERNS)
    filled = re.sub(r"\{(\w+)\}", lambda found: rng.choice(TOPICS[found[1]].split("|")), pattern)
    question = rng.choice(sorted(expansions(filled)))
    return chats.Exchange(decorated(rng, question), DUNNO, "A general question: I cannot know.", chats.plain(question))


def too_hard(rng):
    def number(found):
        digits = int(found[1])
        return str(rng.randrange(10**(digits - 1) + 1, 10**digits))

    question = re.sub(r"\{(\d)\}", number, rng.choice(sorted(expansions(rng.choice(HARD)))))
    return chats.Exchange(question, ABOVE, "This is beyond what I calculate.")


def about(rng, fact):
    topic, questions, answer = fact
    question = rng.choice(questions)
    return chats.Exchange(decorated(rng, question), answer, f"About {topic}.", chats.plain(question))


def exchange(rng):
    kind = rng.random()
    return unanswerable(rng) if kind < 0.12 else too_hard(rng) if kind < 0.18 else about(rng, rng.choice(FACTS))


def held_out(rng, count):
    """Whole paraphrases, as many of each fact, and some questions beyond nano."""
    each = count // (len(FACTS) + 2)
    lines = [one for fact in FACTS for one in chats.distinct(lambda: about(rng, fact), each)]
    rest = count - len(lines)
    for beyond in (unanswerable, too_hard):
        lines += chats.distinct(lambda: beyond(rng), rest // 2)
    return lines
