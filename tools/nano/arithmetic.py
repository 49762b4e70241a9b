"""Problems in whole numbers, and working that a tiny model can follow: each token is one look at a named place.

A number is written with the name of each place before its digit: u units, t tens, h hundreds, k thousands, m ten
thousands. So "the digit to add next" is what stands behind the same letter, wherever that is. 4738+569:

    4738+569        the problem, read from the question
    k4h7t3u8        both numbers, place by place, as wide as the longer one
    k0h5t6u9
    u8+9=17+0=17    place: digit + digit = two digits, + carry = two digits
    t3+6=09+1=10
    h7+5=12+1=13
    k4+0=04+1=05
    m0k5h3t0u7      the result

A subtraction has steps `u8-9=1b9-0=1b9`: one borrowed, nine left, less what was borrowed before. If one is still
borrowed at the end, the numbers change places. 347x26 (or 26x347) multiplies by the units, then by the tens, each step
adding what stands at its place already and the carry; `tu` means: into the tens, from the units:

    h3t4u7
    t2u6
    u7x6=42+0=42
    t4x6=24+4=28
    h3x6=18+2=20
    k2h0t8u2
    tu7x2=14+8=22+0=22
    ht4x2=08+0=08+2=10
    kh3x2=06+2=08+1=09
    m0k9h0t2u2
"""
import chats

PLACES = "uthkm"
# How a problem is asked; {a} and {b} are the numbers as the sign takes them.
SYMBOLS = {"+": ["{a} + {b}", "{a}+{b}"], "-": ["{a} - {b}", "{a}-{b}", "{a} − {b}"],
           "x": ["{a} x {b}", "{a}x{b}", "{a} * {b}", "{a}*{b}", "{a} × {b}", "{a}×{b}"]}
ASKED = ["{}", "{}", "{} = ?", "{} =", "{}=", "{}?", "What is {}?", "what is {}", "What's {}?", "Calculate {}.",
         "calculate {}", "Compute {}.", "How much is {}?", "Please calculate {}.", "Can you calculate {}?",
         "Work out {}.", "Solve {}", "Tell me {}.", "{} please", "I need {}.", "Was ist {}?", "Wie viel ist {}?",
         "Combien font {} ?", "¿Cuánto es {}?", "Quanto fa {}?"]
WORDS = {
    "+": ["What is {a} plus {b}?", "what's {a} plus {b}", "Add {a} and {b}.", "Add {b} to {a}.", "add {a} to {b}",
          "What is the sum of {a} and {b}?", "{a} plus {b}", "How much is {a} plus {b}?", "Sum of {a} and {b}?",
          "Was ist {a} plus {b}?", "Combien font {a} plus {b} ?", "¿Cuánto es {a} más {b}?"],
    "-": ["What is {a} minus {b}?", "what's {a} minus {b}", "Subtract {b} from {a}.", "subtract {b} from {a}",
          "What is the difference of {a} and {b}?", "{a} minus {b}", "How much is {a} minus {b}?",
          "Take {b} away from {a}.", "What is {a} less {b}?", "Was ist {a} minus {b}?",
          "Combien font {a} moins {b} ?", "¿Cuánto es {a} menos {b}?"],
    "x": ["What is {a} times {b}?", "what's {a} times {b}", "Multiply {a} by {b}.", "multiply {a} and {b}",
          "What is the product of {a} and {b}?", "{a} times {b}", "How much is {a} times {b}?",
          "{a} multiplied by {b}", "Was ist {a} mal {b}?", "Combien font {a} fois {b} ?", "¿Cuánto es {a} por {b}?"],
}
STORIES = {
    "+": ["{n} has {a} {t} and buys {b} more. How many {t} does {n} have now?",
          "{n} has {a} {t}. {m} gives {n} {b} more. How many {t} are there now?",
          "There are {a} {t} in one box and {b} in another. How many {t} are there in all?",
          "{n} finds {a} {t} and {m} finds {b}. How many {t} do they have together?",
          "A shop sells {a} {t} on Monday and {b} on Tuesday. How many {t} does it sell in all?"],
    "-": ["{n} has {a} {t} and gives {b} to {m}. How many {t} are left?",
          "{n} had {a} {t} and lost {b}. How many {t} does {n} have now?",
          "There are {a} {t} in a shop. It sells {b}. How many {t} are left?",
          "{n} has {a} {t}, {m} has {b}. How many more {t} does {n} have?",
          "Of {a} {t}, {b} are red. How many {t} are not red?"],
    "x": ["There are {b} boxes with {a} {t} each. How many {t} are there?",
          "{n} buys {b} bags. Each bag holds {a} {t}. How many {t} does {n} have?",
          "A book costs {a} coins. How much do {b} books cost?",
          "{n} collects {a} {t} a day. How many {t} are that in {b} days?",
          "A room has {b} rows of {a} seats. How many seats are there?"],
}
NAMES = "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Kim Leo Mia Nora Omar Paul Rosa Sam Tom Vera".split()
THINGS = "apples books pens cards stamps coins shells balls eggs cups flowers stones pears tickets plums".split()


def digit(number, place):
    return number // 10**place % 10


def row(number, width):
    return "".join(f"{PLACES[place]}{digit(number, place)}" for place in reversed(range(width)))


def width_of(*numbers):
    return max(len(str(number)) for number in numbers)


def add(a, b):
    width, carry = width_of(a, b), 0
    lines = [row(a, width), row(b, width)]
    for place in range(width):
        x, y = digit(a, place), digit(b, place)
        lines.append(f"{PLACES[place]}{x}+{y}={x + y:02}+{carry}={x + y + carry:02}")
        carry = (x + y + carry) // 10
    return lines + [row(a + b, width + 1)], a + b


def borrowing(rest):
    return f"{int(rest < 0)}b{rest % 10}"


def subtract(a, b):
    width, borrow = width_of(a, b), 0
    lines = [row(a, width), row(b, width)]
    for place in range(width):
        x, y = digit(a, place), digit(b, place)
        lines.append(f"{PLACES[place]}{x}-{y}={borrowing(x - y)}-{borrow}={borrowing(x - y - borrow)}")
        borrow = int(x - y - borrow < 0)
    if borrow:
        return lines + [f"-({b}-{a})"] + subtract(b, a)[0], a - b
    return lines + [row(a - b, width)], a - b


def multiply(a, b):
    a, b = (b, a) if width_of(b) > width_of(a) else (a, b)
    width, lines = width_of(a), [row(a, width_of(a)), row(b, width_of(b))]
    done = 0
    for shift in range(width_of(b)):
        y, carry = digit(b, shift), 0
        for place in range(width):
            x, target = digit(a, place), place + shift
            product = x * y
            step = f"{PLACES[target] if shift else ''}{PLACES[place]}{x}x{y}={product:02}"
            if shift:
                product += digit(done, target)
                step += f"+{digit(done, target)}={product:02}"
            lines.append(f"{step}+{carry}={product + carry:02}")
            carry = (product + carry) // 10
        done += a * y * 10**shift
        lines.append(row(done, width + shift + 1))
    return lines, done


def working(numbers, signs):
    """(steps, result) of numbers with signs between them, from left to right."""
    lines, result = [], numbers[0]
    for at, (sign, number) in enumerate(zip(signs, numbers[1:])):
        rest = "".join(s + str(n) for s, n in zip(signs[at + 1:], numbers[at + 2:]))
        lines.append(f"{result}{sign}{number}{rest}")
        steps, result = {"+": add, "-": subtract, "x": multiply}[sign](result, number)
        lines += steps
    return "\n".join(lines), result


def number(rng, weights):
    """A number of as many digits as the weights say."""
    digits = rng.choices(range(1, len(weights) + 1), weights)[0]
    return rng.randrange(10**(digits - 1) if digits > 1 else 0, 10**digits)


def draw(rng):
    """(numbers, signs)"""
    kind = rng.random()
    if kind < 0.13:
        while True:
            numbers = [number(rng, (1, 7, 2)) for _ in range(3)]
            signs = rng.choices(("++", "+-", "-+"), (6, 2, 2))[0]
            partial = numbers[0] + numbers[1] if signs[0] == "+" else numbers[0] - numbers[1]
            if partial >= 0 and (signs[1] == "+" or partial >= numbers[2]):
                return numbers, signs
    if kind < 0.38:
        return [number(rng, (2, 5, 6, 6)), number(rng, (2, 5, 6, 6))], "+"
    if kind < 0.64:
        a, b = number(rng, (2, 5, 6, 6)), number(rng, (2, 5, 6, 6))
        if a < b and (b > 999 or rng.random() < 0.75):
            a, b = b, a
        return [a, b], "-"
    a, b = number(rng, (2, 5, 8)), number(rng, (5, 8))
    return [b, a] if rng.random() < 0.2 else [a, b], "x"


def question(rng, numbers, signs):
    if len(numbers) == 3:
        if signs == "++" and rng.random() < 0.2:
            a, b, c = numbers
            return rng.choice(["What is the sum of {}, {} and {}?", "Add {}, {} and {}."]).format(a, b, c)
        space = rng.choice(["", " "])
        return rng.choice(ASKED).format(
            str(numbers[0]) + "".join(f"{space}{s}{space}{n}" for s, n in zip(signs, numbers[1:])))
    (a, b), form = numbers, rng.random()
    if form < 0.2 and a >= b > 1 or form < 0.2 and signs == "+" and a > 1 and b > 1:
        n, m = rng.sample(NAMES, 2)
        return rng.choice(STORIES[signs]).format(a=a, b=b, n=n, m=m, t=rng.choice(THINGS))
    if form < 0.45:
        return rng.choice(WORDS[signs]).format(a=a, b=b)
    return rng.choice(ASKED).format(rng.choice(SYMBOLS[signs]).format(a=a, b=b))


def exchange(rng):
    numbers, signs = draw(rng)
    steps, result = working(numbers, signs)
    return chats.Exchange(question(rng, numbers, signs), str(result), steps, tuple(sorted(numbers)))


def held_out(rng, count):
    """Problems with at least one number of two digits: small tables must be learned whole."""
    return chats.distinct(lambda: exchange(rng), count, lambda one: one.key[-1] > 9 and one.key[0] > 1)
