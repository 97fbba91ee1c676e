"""The official `openai` and `anthropic` packages against a running server.

    python clients.py http://127.0.0.1:8000 MODEL

MODEL is a small chat model such as SmolLM2-135M-Instruct: what it says is not checked, but how. Exits with 1 and says what
failed, if anything did.
"""

import json
import sys
import traceback

import anthropic
import openai

URL, MODEL = sys.argv[1], sys.argv[2]
OPENAI = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
ANTHROPIC = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS}}


def chat():
    answer = OPENAI.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, max_tokens=30)
    assert "Paris" in answer.choices[0].message.content, answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def chat_stream():
    stream = OPENAI.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=30, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text, text
    assert chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices


def choices_and_logprobs():
    answer = OPENAI.chat.completions.create(
        model=MODEL, messages=QUESTION, n=2, seed=1, temperature=1, logprobs=True, top_logprobs=2, max_tokens=5
    )
    assert len(answer.choices) == 2
    tokens = answer.choices[1].logprobs.content
    assert 1 <= len(tokens) <= 5 and all(len(token.top_logprobs) == 2 for token in tokens)


def tools():
    answer = OPENAI.chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice="required", max_tokens=200
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls", answer
    for call in choice.message.tool_calls:
        assert call.function.name == "get_weather"
        assert json.loads(call.function.arguments)["city"] in ["Paris", "Rome"]
    result = {"role": "tool", "tool_call_id": choice.message.tool_calls[0].id, "content": "Sunny."}
    messages = [*QUESTION, choice.message, result]
    OPENAI.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL], max_tokens=10)


def tools_stream():
    named = {"type": "function", "function": {"name": "get_weather"}}
    with OPENAI.chat.completions.stream(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=named, max_tokens=200
    ) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments)["city"] in ["Paris", "Rome"]


def json_schema():
    schema = {"name": "city", "schema": PARAMETERS, "strict": True}
    answer = OPENAI.chat.completions.create(
        model=MODEL, messages=QUESTION, response_format={"type": "json_schema", "json_schema": schema}, max_tokens=100
    )
    assert json.loads(answer.choices[0].message.content)["city"] in ["Paris", "Rome"]


def completions():
    answer = OPENAI.completions.create(
        model=MODEL, prompt=["The capital of France is", "1 2 3"], max_tokens=5, temperature=0, logprobs=1
    )
    assert "Paris" in answer.choices[0].text and len(answer.choices) == 2
    assert len(answer.choices[0].logprobs.tokens) == 5
    stream = OPENAI.completions.create(model=MODEL, prompt="1 2 3", max_tokens=5, stream=True)
    assert len(list(stream)) > 2


def embeddings():
    answer = OPENAI.embeddings.create(model=MODEL, input=["a cat", "a kitten", "the stock market"])
    a, b, c = (item.embedding for item in answer.data)
    dot = lambda x, y: sum(p * q for p, q in zip(x, y))
    assert abs(dot(a, a) - 1) < 1e-3 and dot(a, b) > dot(a, c)


def models():
    assert MODEL in [model.id for model in OPENAI.models.list()]
    assert OPENAI.models.retrieve(MODEL).object == "model"


def responses():
    answer = OPENAI.responses.create(model=MODEL, input="What is the capital of France?", temperature=0, max_output_tokens=30)
    assert "Paris" in answer.output_text and answer.usage.output_tokens > 0
    function = {"type": "function", "name": "get_weather", "parameters": PARAMETERS}
    answer = OPENAI.responses.create(
        model=MODEL, input="Weather?", tools=[function], tool_choice="required", max_output_tokens=200
    )
    assert answer.output[0].type == "function_call", answer


def responses_stream():
    with OPENAI.responses.stream(model=MODEL, input="What is the capital of France?", temperature=0) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_response()
    assert "Paris" in final.output_text
    assert names[0] == "response.created" and names[-1] == "response.completed", names


def errors():
    for fields, kind in [
        ({"temperature": -1}, openai.UnprocessableEntityError),
        ({"extra_body": {"nonsense": 1}}, openai.UnprocessableEntityError),
    ]:
        try:
            OPENAI.chat.completions.create(model=MODEL, messages=QUESTION, **fields)
        except kind as error:
            assert error.body["message"], error
        else:
            raise AssertionError(f"{fields} are not refused")
    try:
        OPENAI.chat.completions.create(model="no/such-model", messages=QUESTION)
    except (openai.NotFoundError, openai.BadRequestError) as error:
        assert error.code == "model_not_found", error
    else:
        raise AssertionError("an unknown model is not refused")
    try:
        ANTHROPIC.messages.create(model=MODEL, max_tokens=10, messages=[])
    except anthropic.UnprocessableEntityError as error:
        assert error.body["type"] == "error", error
    else:
        raise AssertionError("no messages are not refused")


def cancellation():
    stream = OPENAI.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=1000, stream=True)
    next(iter(stream))
    stream.close()
    chat()


def messages():
    answer = ANTHROPIC.messages.create(model=MODEL, max_tokens=30, messages=QUESTION, system="Be brief.")
    assert answer.content[0].type == "text" and answer.usage.output_tokens > 0
    count = ANTHROPIC.messages.count_tokens(model=MODEL, messages=QUESTION, system="Be brief.")
    assert count.input_tokens == answer.usage.input_tokens + answer.usage.cache_read_input_tokens
    tool = {"name": "get_weather", "input_schema": PARAMETERS}
    answer = ANTHROPIC.messages.create(
        model=MODEL, max_tokens=200, messages=QUESTION, tools=[tool], tool_choice={"type": "any"}
    )
    assert answer.stop_reason == "tool_use", answer
    assert answer.content[-1].input["city"] in ["Paris", "Rome"]


def messages_stream():
    with ANTHROPIC.messages.stream(model=MODEL, max_tokens=30, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text and final.content[0].text == text and final.stop_reason in ["end_turn", "max_tokens"]


def main():
    checks = [
        chat, chat_stream, choices_and_logprobs, tools, tools_stream, json_schema, completions, embeddings, models,
        responses, responses_stream, errors, cancellation, messages, messages_stream,
    ]
    failed = 0
    for check in checks:
        try:
            check()
            print(f"ok      {check.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {check.__name__}")
            traceback.print_exc()
    print(f"openai {openai.__version__}, anthropic {anthropic.__version__}: {len(checks) - failed} of {len(checks)}")
    sys.exit(failed > 0)


main()
