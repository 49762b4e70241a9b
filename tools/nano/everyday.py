"""What people do with a chat beside asking: they talk, write numbers as words, ask for too much, end the thinking early."""
import pathlib
import re

import arithmetic
import chats
import functions
import knowledge
import smalltalk
import spelling

HERE = pathlib.Path(__file__).parent
SENTENCES = (HERE / "everyday_sentences.txt").read_text(encoding="utf-8").splitlines()
FACTS = knowledge.read(HERE / "more_facts.txt")
THINGS = knowledge.TOPICS["topic"].split("|")
ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen").split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS = {"+": ["What is {a} plus {b}?", "{a} plus {b}", "Add {a} and {b}.", "How much is {a} plus {b}?",
                      "{a} and {b}, how much is that?", "{a} + {b}"],
                "-": ["What is {a} minus {b}?", "{a} minus {b}", "Subtract {b} from {a}.", "How much is {a} minus {b}?",
                      "{a} - {b}"],
                "x": ["What is {a} times {b}?", "{a} times {b}", "Multiply {a} by {b}.", "How much is {a} times {b}?",
                      "{a} x {b}"]}
# Beyond what nano calculates, as knowledge.HARD; {low-high} is a number of so many digits.
BEYOND = ["[What is|Calculate|How much is|] {5-9}[+| + | - |-| plus ]{1-9}[?|]",
          "[What is|Calculate|How much is|] {1-4}[+| + | plus ]{5-9}[?|]",
          "[What is|Calculate|] {4-8}[x| x |*| * | times ]{1-8}[?|]", "{3-6}[*|x| x ]{3-6}[?|]",
          "[What is|] {1-4}[/| / |:| divided by ]{1-3}[?|]", "{1-2}.{1-2}[+|-|*| + ]{1-2}.{1-2}", "{1-3}^{1-2}",
          "[sqrt|The square root of|sin|log] {1-4}"]
ASKED = ["Correct the spelling: {}", "Correct the spelling: {}", "Fix the spelling: {}", "Fix: {}", "Spelling: {}",
         "Correct the spelling of this sentence: {}", "Please fix my spelling: {}", "Correct this sentence: {}",
         "correct: {}", "fix the spelling: {}", "Correct: \"{}\"", "Check my spelling: {}", "Correct my mistakes: {}"]
STOP = ("Considering the limited time by the user, I have to give the solution based on the thinking directly now.")
NO_TIME = "I had no time to work that out."


def read(path=HERE / "everyday.txt"):
    """[([patterns' texts], answer)]"""
    talk, owner = [], {chats.plain(said): None for _, all_said, _ in smalltalk.TALK for said in all_said}
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.startswith("#"):
            continue
        patterns, answer = text.split(" > ")
        texts = [sorted(knowledge.expansions(pattern)) for pattern in patterns.split(" ; ")]
        for one in sum(texts, []):
            assert owner.setdefault(chats.plain(one) or one, answer) == answer, f"{one}: two answers"
        talk.append((texts, answer))
    return talk


TALK = read()


def name(rng):
    """A known name, or one that nobody has: names must be copied, not known."""
    if rng.random() < 0.4:
        return rng.choice(arithmetic.NAMES)
    return "".join(rng.choice("b d f g h j k l m n p r s t v w z".split()) + rng.choice("aeiou")
                   for _ in range(rng.choice((2, 2, 3)))).capitalize() + rng.choice(["", "", "n", "l", "r", "s"])


def typed(rng, text):
    """As people type it."""
    if rng.random() < 0.3:
        text = text.rstrip(".?!") or text
    if rng.random() < 0.1:
        text += rng.choice(["!", "?", "!!", "..."])
    return text.lower() if rng.random() < 0.25 and "{" not in text else text


def talk(rng):
    texts, answer = rng.choice(TALK)
    question = typed(rng, rng.choice(rng.choice(texts)))
    slots = {"name": name(rng), "city": rng.choice(functions.CITIES), "thing": rng.choice(THINGS)}
    answer = answer.format(**slots)
    key = question.format(**slots)
    return chats.Exchange(key, answer[0].upper() + answer[1:], "Small talk.", key)


def fact(rng):
    return knowledge.about(rng, rng.choice(FACTS))


def in_words(number, rng):
    if number < 20:
        return ONES[number]
    return TENS[number // 10] + (rng.choice(["-", "-", " "]) + ONES[number % 10] if number % 10 else "")


def sum_of(question, numbers, signs):
    steps, result = arithmetic.working(numbers, signs)
    return chats.Exchange(question, str(result), steps, tuple(sorted(numbers)))


def small_sum(rng):
    """Numbers as words, or small numbers, three of them often."""
    if rng.random() < 0.5:
        sign, (a, b) = rng.choice("++-xx"), sorted((rng.choice((rng.randrange(13), rng.randrange(100))) for _ in "ab"),
                                                   reverse=True)
        question = rng.choice(NUMBER_WORDS[sign]).format(a=in_words(a, rng), b=in_words(b, rng))
        return sum_of(typed(rng, question[0].upper() + question[1:]), [a, b], sign)
    count = rng.choice((2, 3, 3, 3))
    while True:
        numbers, signs = [rng.randrange(rng.choice((10, 21, 100))) for _ in range(count)], rng.choices("++-", k=count - 1)
        if arithmetic.working(numbers[:2], signs[:1])[1] >= 0 and arithmetic.working(numbers, signs)[1] >= 0:
            break
    if set(signs) == {"+"} and count == 3 and rng.random() < 0.3:
        question = rng.choice(["What is {} plus {} plus {}?", "Add {}, {} and {}.", "{} plus {} plus {}",
                               "What is the sum of {}, {} and {}?"]).format(*numbers)
    else:
        space = rng.choice(["", "", " "])
        sum_text = str(numbers[0]) + "".join(f"{space}{sign}{space}{n}" for sign, n in zip(signs, numbers[1:]))
        question = rng.choice(arithmetic.ASKED).format(sum_text)
    return sum_of(question, numbers, signs)


def beyond(rng):
    def digits(found):
        count = rng.randrange(int(found[1]), int(found[2]) + 1)
        return str(rng.randrange(10**(count - 1), 10**count))

    question = re.sub(r"\{(\d)-(\d)\}", digits, rng.choice(sorted(knowledge.expansions(rng.choice(BEYOND)))))
    return chats.Exchange(question, knowledge.ABOVE, "This is beyond what I calculate.")


def slip(rng, word):
    """The word with one letter left out, doubled, exchanged with the next, or a vowel for another."""
    while True:
        at = rng.randrange(1, len(word) - 1)
        kind = rng.random()
        if kind < 0.3:
            wrong = word[:at] + word[at + 1:]
        elif kind < 0.5:
            wrong = word[:at] + word[at] + word[at:]
        elif kind < 0.75:
            wrong = word[:at] + word[at + 1] + word[at] + word[at + 2:]
        else:
            wrong = word[:at] + rng.choice("aeiou") + word[at + 1:] if word[at] in "aeiou" else word
        if wrong != word:
            return wrong


def sentence(rng):
    """A sentence with up to three slips, corrected."""
    text = rng.choice(SENTENCES) if rng.random() < 0.7 else spelling.capital(spelling.clause(rng, [])[0])
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    chosen = sorted(rng.sample(places, min(len(places), rng.choice((0, 1, 1, 2, 2, 3)))))
    slips = {at: slip(rng, words[at]) for at in chosen}
    wrong = " ".join(slips.get(at, word) for at, word in enumerate(words))
    end = "?" if words[0] in ("Where", "Can", "Could") else "."
    reasoning = "; ".join(f"{slips[at]} -> {words[at]}" for at in chosen) or "Nothing is wrong."
    asked = rng.choice(ASKED).format(typed(rng, wrong + end))
    return chats.Exchange(asked, text + end, reasoning, chats.plain(wrong))


def cut_short(rng):
    """A sum whose thinking was ended by a budget: there is nothing to tell."""
    exchange = arithmetic.exchange(rng)
    lines = exchange.reasoning.split("\n")[:-1]
    part = "\n".join(lines)
    part = part[:rng.randrange(len(part) + 1)]
    return chats.Exchange(exchange.question, NO_TIME, f"{part}\n\n{STOP}", exchange.key)


KINDS = [(talk, 30), (fact, 22), (small_sum, 18), (beyond, 8), (sentence, 22)]


def exchange(rng):
    kinds, weights = zip(*KINDS)
    return rng.choices(kinds, weights)[0](rng)


def held_out(rng, count):
    """Wordings of facts, misspelt sentences, sums that are not in the small tables, and names nobody has."""
    drawn = {fact: count // 8, sentence: count // 4, small_sum: count // 4, beyond: count // 8, talk: count // 4}
    fixed = {text for texts, _ in TALK for text in sum(texts, []) if "{" not in text}
    new = {small_sum: lambda one: one.key[-1] > 9, talk: lambda one: one.key not in fixed,
           sentence: lambda one: "->" in one.reasoning}
    return [one for draw, share in drawn.items()
            for one in chats.distinct(lambda: draw(rng), share, new.get(draw, lambda _: True))]
