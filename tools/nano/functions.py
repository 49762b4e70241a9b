"""Function calls: a question and functions to choose from, and the sentence after a function's result."""
import arithmetic
import chats
import knowledge
import smalltalk

CITIES = """
    Paris London Rome Berlin Oslo Madrid Tokyo Vienna Lisbon Prague Cairo Boston Athens Dublin Helsinki Warsaw Budapest
    Zurich Geneva Hamburg Munich Cologne Milan Venice Naples Turin Lyon Nice Seville Porto Bergen Stockholm Copenhagen
    Amsterdam Brussels Ghent Riga Vilnius Tallinn Kyoto Osaka Seoul Beijing Delhi Mumbai Lagos Nairobi Tunis Lima Quito
    Bogota Santiago Toronto Montreal Chicago Denver Seattle Dallas Miami Sydney Perth Auckland Manila Hanoi Jakarta
    Istanbul Ankara Sofia Zagreb Belgrade Bern Graz Bonn Leeds York Cork Malta Reykjavik""".split()
SKY = ["sunny", "cloudy", "rainy", "windy", "foggy", "clear", "stormy", "snowy"]
CURRENCIES = ["euros", "dollars", "pounds", "yen", "francs", "crowns"]
TASKS = ("call mother|buy milk|water the plants|pay the rent|feed the cat|send the report|book a table|wash the car|"
         "take the medicine|pick up the parcel|call the doctor|clean the kitchen|walk the dog|"
         "renew the passport").split("|")
WHEN = "8 am|9 am|10 am|noon|2 pm|3 pm|4 pm|5 pm|6 pm|8 pm".split("|")
MESSAGES = ("I am late|dinner is ready|the train is here|see you soon|happy birthday|thank you|I am at home|"
            "call me back|the meeting is over|good luck").split("|")
TOPICS = "football|science|music|the weather|politics|art|space|health|films|chess|energy|history".split("|")


def function(name, description, **properties):
    """A function as OpenAI's interface describes it; all its arguments are required."""
    return {"type": "function", "function": {
        "name": name, "description": description,
        "parameters": {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()},
                       "required": list(properties)}}}


class Weather:
    tool = function("get_weather", "The weather in a city", city="string")
    asked = ["[What is|What's|How is] the weather (like) in {city}[ today| now|]?",
             "Is it [warm|cold|raining|sunny] in {city}?", "Weather in {city}[, please|]?",
             "[Do I need|Should I take] an umbrella in {city}?",
             "[Tell|Show] me the weather in {city}.", "How [warm|cold|hot] is it in {city}?"]

    def draw(self, rng):
        city, degrees, sky = rng.choice(CITIES), rng.randrange(-9, 36), rng.choice(SKY)
        return {"city": city}, {"temperature": degrees, "sky": sky}, f"It is {sky} in {city}, {degrees} degrees."


class Time:
    tool = function("get_time", "The time in a city", city="string")
    asked = ["What time is it in {city}[ now|]?", "What's the time in {city}[ now|]?", "Time in {city}[, please|]?",
             "[Tell|Show] me the time in {city}.", "How late is it in {city}?",
             "Is it [late|early|night|morning] in {city}?"]

    def draw(self, rng):
        city, time = rng.choice(CITIES), f"{rng.randrange(24):02}:{rng.randrange(60):02}"
        return {"city": city}, {"time": time}, f"It is {time} in {city}."


class Calculate:
    tool = function("calculate", "The value of an expression", expression="string")
    asked = ["[What is|What's|Calculate|Compute|How much is] {expression}?", "{expression}", "{expression} = ?",
             "Please [calculate|compute] {expression}."]

    def draw(self, rng):
        numbers, signs = arithmetic.draw(rng)
        expression = str(numbers[0]) + "".join(f" {sign} {n}" for sign, n in zip(signs, numbers[1:]))
        expression = expression.replace("x", "*")
        result = arithmetic.working(numbers, signs)[1]
        return {"expression": expression}, {"result": result}, f"{expression} = {result}"


class Convert:
    tool = function("convert_money", "Converts money", amount="integer", source="string", target="string")
    asked = ["How much are {amount} {source} in {target}?", "[Convert|Change] {amount} {source} (in)to {target}.",
             "What are {amount} {source} worth in {target}?", "{amount} {source} in {target}?"]

    def draw(self, rng):
        (source, target), amount = rng.sample(CURRENCIES, 2), rng.randrange(2, 1000)
        worth = amount * rng.randrange(60, 180) // 100
        return ({"amount": amount, "source": source, "target": target}, {"amount": worth},
                f"{amount} {source} are {worth} {target}.")


class Timer:
    tool = function("set_timer", "Starts a timer", minutes="integer")
    asked = ["[Set|Start] a timer [for|of] {minutes} minutes.", "[Wake me|Ring|Tell me] in {minutes} minutes.",
             "Timer, {minutes} minutes[, please|].", "(Please) start a {minutes} minute timer."]

    def draw(self, rng):
        minutes = rng.randrange(2, 91)
        return {"minutes": minutes}, {"status": "ok"}, f"The timer is set for {minutes} minutes."


class Remind:
    tool = function("add_reminder", "Adds a reminder", text="string", time="string")
    asked = ["Remind me to {text} at {time}.", "[Add|Set] a reminder: {text} at {time}.",
             "At {time} I must {text}, remind me.", "Don't let me forget to {text} at {time}."]

    def draw(self, rng):
        text, time = rng.choice(TASKS), rng.choice(WHEN)
        return {"text": text, "time": time}, {"status": "ok"}, f"I will remind you at {time}: {text}."


class Send:
    tool = function("send_message", "Sends a message", to="string", text="string")
    asked = ["[Send|Write] {to} a message: {text}.", "[Tell|Text] {to}: {text}.", "Message {to}: {text}.",
             "[Send|Write] \"{text}\" to {to}."]

    def draw(self, rng):
        to, text = rng.choice(arithmetic.NAMES), rng.choice(MESSAGES)
        return {"to": to, "text": text}, {"status": "sent"}, f"I sent your message to {to}."


class News:
    tool = function("get_news", "News about a topic", topic="string")
    asked = ["[What is|What's] new in {topic}?", "[Any|Is there any] news about {topic}?",
             "News about {topic}[, please|].",
             "[Show|Tell|Give] me (the) news about {topic}."]

    def draw(self, rng):
        topic, count = rng.choice(TOPICS), rng.randrange(2, 10)
        return {"topic": topic}, {"count": count}, f"There are {count} news items about {topic}."


KINDS = [Weather(), Time(), Calculate(), Convert(), Timer(), Remind(), Send(), News()]
ASKED = {kind: sorted(set().union(*map(knowledge.expansions, kind.asked))) for kind in KINDS}
NONE = "I have no function for that."


def sample(rng, thinks):
    """(line, keys): a call, or the sentence after its result, or an answer where no function is needed or fits."""
    kind, form = rng.choice(KINDS), rng.random()
    arguments, result, sentence = kind.draw(rng)
    question = rng.choice(ASKED[kind]).format(**arguments)
    if rng.random() < 0.15:
        question = question.rstrip("?.")
    offered = rng.sample([other for other in KINDS if other is not kind], rng.choice((0, 1, 1, 2)))
    name = kind.tool["function"]["name"]
    reasoning, key = f"I call {name}.", chats.plain(question)
    numbers = tuple(sorted(int(word) for word in arguments.get("expression", "").split() if word.isdigit()))
    if form > 0.88:  # it does not fit
        if form > 0.94 or name == "calculate":
            talk = smalltalk.exchange(rng)
            question, answer, reasoning, key = talk.question, talk.answer, talk.reasoning, talk.key
        else:
            answer, reasoning = NONE, "None of the functions fits."
        offered = offered or rng.sample([other for other in KINDS if other is not kind], 1)
        messages = [chats.user(question), chats.assistant(answer, reasoning)]
    else:
        offered.insert(rng.randrange(len(offered) + 1), kind)
        call = chats.assistant("", reasoning)
        call["tool_calls"] = [{"type": "function", "function": {"name": name, "arguments": arguments}}]
        messages = [chats.user(question), call]
        if form > 0.55:
            if rng.random() < 0.5:
                call.pop("reasoning_content")
            messages += [{"role": "tool", "content": chats.as_json(result)},
                         chats.assistant(sentence, f"I tell what {name} says.")]
            key += " " + chats.plain(messages[-2]["content"])
    tools = [other.tool for other in offered]
    return chats.line(rng, "tools", messages, rng.random() < thinks, tools), [key, numbers]
