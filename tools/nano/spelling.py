"""Sentences with common misspellings, corrected."""
import pathlib

import chats

SMALL = {"the": ["teh", "hte", "th"], "and": ["adn", "nad"], "with": ["wiht", "wih"], "have": ["hvae", "hav"],
         "that": ["taht", "tht"], "they": ["tehy", "thay"], "this": ["tihs", "thsi"], "what": ["waht", "wat"],
         "from": ["form", "frmo"], "just": ["jsut", "jst"], "your": ["yuor", "yor"], "was": ["wsa"], "will": ["wil"],
         "are": ["aer"], "you": ["yuo"], "not": ["nto"], "but": ["btu"], "home": ["hoem"], "when": ["wehn"],
         "like": ["liek"]}
ASKED = ["Correct the spelling: {}", "Correct the spelling: {}", "Correct the spelling: \"{}\"", "Fix the spelling: {}",
         "Please correct the spelling: {}", "correct the spelling: {}", "Correct this: {}", "Correct: {}",
         "Fix the typos: {}", "Correct my spelling: {}", "Can you correct this sentence? {}", "Spell check: {}",
         "What is the right spelling? {}", "Correct the mistakes: {}", "Is this spelled right? {}"]
STARTS = ["", "", "I think ", "I hope ", "yes, ", "sorry, ", "today ", "sadly, ", "he says ", "she wrote that ",
          "you know that ", "I heard that ", "maybe ", "at last ", "we saw that "]
SUBJECTS = set("I we he she they it the my her his our their nobody a an".split())  # what a start may stand before
JOINTS = [" and ", " and ", ", but ", ", so ", " when ", " while "]
# Sentences of other words, so that what is right is copied, whatever it is.
WHO = ("the cat|the dog|my uncle|our teacher|a sailor|the baker|the queen|Anna|Tom|Maria|the driver|a farmer|"
       "his sister|the cook|the boss|an old man|the team|her brother|the painter|the nurse|a stranger|the king|"
       "my aunt|the singer|Peter|Lena").split("|")
DOES = ("likes|finds|sells|carries|watches|opens|cleans|paints|needs|hides|brings|keeps|buys|loves|moves|drops|draws|"
        "takes|breaks|fills|mends|washes|wants|holds|counts|sends").split("|")
HOW = ("big|small|red|blue|new|old|cheap|heavy|empty|broken|wooden|yellow|soft|warm|round|strange|clean|fresh|long|"
       "dark").split("|")
WHAT = ("boat|ball|bag|cup|hat|map|lamp|cake|fish|coat|box|clock|shoe|bell|apple|pen|radio|basket|bottle|carpet|ladder|"
        "mirror|pillow|rope|spoon|stone|tent|wheel|knife|drum").split("|")


def read(path=pathlib.Path(__file__).with_name("misspellings.txt")):
    """[(right, [wrong, ...], clause)]"""
    entries = [text.split(": ") for text in path.read_text(encoding="utf-8").splitlines() if not text.startswith("#")]
    return [(right, wrong.split(", "), clause) for right, wrong, clause in entries]


WORDS = read()


def clause(rng, slips):
    """(right, wrong) clause; slips collects what was changed."""
    if rng.random() < 0.3:
        words = [rng.choice(WHO), rng.choice(DOES), rng.choice(["a", "the", "this"]), rng.choice(HOW), rng.choice(WHAT)]
        text = " ".join(words).replace(" a old", " an old").replace(" a empty", " an empty")
        return text, text
    right, wrong, text = rng.choice(WORDS)
    if rng.random() < 0.12:
        return text.replace("*", right), text.replace("*", right)
    slip = rng.choice(wrong)
    slips.append((slip, right))
    return text.replace("*", right), text.replace("*", slip)


def small_slips(rng, words, slips):
    for at, word in enumerate(words):
        if word in SMALL and rng.random() < 0.15:
            words[at] = rng.choice(SMALL[word])
            slips.append((words[at], word))
    return words


def capital(text):
    return text[0].upper() + text[1:]


def exchange(rng):
    slips = []
    right, wrong = clause(rng, slips)
    start = rng.choice(STARTS) if right.split(" ")[0] in SUBJECTS and rng.random() < 0.8 else ""
    if rng.random() < 0.3:
        joint = rng.choice(JOINTS)
        more_right, more_wrong = clause(rng, slips)
        right, wrong = right + joint + more_right, wrong + joint + more_wrong
    right, wrong = start + right, start + wrong
    wrong = " ".join(small_slips(rng, wrong.split(" "), slips))
    end = rng.choice([".", ".", ""])
    places = [word.strip(",") for word in wrong.split(" ")]
    order = sorted(slips, key=lambda slip: places.index(slip[0]))
    reasoning = "; ".join(f"{a} -> {b}" for a, b in order) or "Nothing is wrong."
    return chats.Exchange(rng.choice(ASKED).format(capital(wrong) + end), capital(right) + ".", reasoning,
                          chats.plain(wrong))


def held_out(rng, count):
    """Sentences with at least one mistake."""
    return chats.distinct(lambda: exchange(rng), count, lambda one: "->" in one.reasoning)
