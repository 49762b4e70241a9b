"""One line of the corpus: a chat, its rendering as text, and what must stay unseen.

`render` does in Python what chat_template.jinja does in Jinja; both must write the same bytes.
"""
import json

SYSTEMS = ["You are a helpful assistant.", "You are nano, a tiny model inside Inkstone.", "You are nano.",
           "Answer briefly.", "Be polite.", "You are a friendly assistant.", "Answer in one sentence."]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, reasoning=None):
    message = {"role": "assistant", "content": text}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    return message


class Exchange:
    """A question, its answer, and the thinking between. `key` names what must not be in the training and in an
    evaluation at once: what the user said, without case and punctuation."""

    def __init__(self, question, answer, reasoning, key=None):
        self.question, self.answer, self.reasoning = question, answer, reasoning
        self.key = plain(question) if key is None else key


def plain(text):
    """What is left of a text when case and punctuation do not count."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def line(rng, category, messages, thinking, tools=None, system=0.1):
    """A line of the corpus. The last message is what is learned; a reasoning that nobody asked for is left out."""
    messages = [dict(message) for message in messages]
    if not thinking:
        for message in messages:
            message.pop("reasoning_content", None)
    if rng.random() < system:
        messages.insert(0, {"role": "system", "content": rng.choice(SYSTEMS)})
    result = {"messages": messages, "chat_template_kwargs": {"enable_thinking": thinking}, "category": category}
    if tools:
        result["tools"] = tools
    return result


def single(rng, category, exchange, thinking):
    return line(rng, category, [user(exchange.question), assistant(exchange.answer, exchange.reasoning)], thinking)


def distinct(draw, count, allowed=lambda exchange: True):
    """`count` exchanges of different keys."""
    found = {}
    for _ in range(1000 * count):
        exchange = draw()
        if allowed(exchange):
            found.setdefault(exchange.key, exchange)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"{len(found)} different exchanges: expected {count}")


def as_json(value):
    return json.dumps(value, ensure_ascii=False)


TOOLS_HEAD = "Functions that you may call, one JSON object a line:\n"
TOOLS_TAIL = 'To call one, write <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call>'


def call_text(call):
    function = call.get("function", call)
    arguments = function["arguments"]
    return (f'<tool_call>\n{{"name": {as_json(function["name"])}, "arguments": '
            f'{arguments if isinstance(arguments, str) else as_json(arguments)}}}\n</tool_call>')


def render(chat):
    """The whole chat as text, as the model is trained on it."""
    messages, out = chat["messages"], []
    system = [message["content"] for message in messages if message["role"] == "system"]
    if chat.get("tools"):
        system.append(TOOLS_HEAD + "".join(as_json(tool) + "\n" for tool in chat["tools"]) + TOOLS_TAIL)
    if system:
        out.append("<|im_start|>system\n" + "\n\n".join(system) + "<|im_end|>\n")
    asked = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    for at, message in enumerate(messages):
        role, text = message["role"], message.get("content") or ""
        if role == "user":
            out.append(f"<|im_start|>user\n{text}<|im_end|>\n")
        elif role == "tool":
            if at == 0 or messages[at - 1]["role"] != "tool":
                out.append("<|im_start|>user")
            out.append(f"\n<tool_response>\n{text}\n</tool_response>")
            if at + 1 == len(messages) or messages[at + 1]["role"] != "tool":
                out.append("<|im_end|>\n")
        elif role == "assistant":
            reasoning = message.get("reasoning_content") or ""
            for call in message.get("tool_calls") or []:
                text += ("\n" if text else "") + call_text(call)
            if at > asked and (at + 1 == len(messages) or reasoning):
                text = f"<think>\n{reasoning}\n</think>\n\n{text}"
            out.append(f"<|im_start|>assistant\n{text}<|im_end|>\n")
    return "".join(out)
