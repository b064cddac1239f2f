"""Asks an encoder with OpenAI's client, in that client's own environment: ``openai_client.py URL MODEL TEXTS``.

Prints one JSON object: what it heard, and which of its exceptions it raised.
"""

import asyncio
import json
import sys

import openai


def raised(ask) -> list:
    try:
        ask()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param]
    raise AssertionError("it was answered")


async def several(url: str, model: str, texts: list[str]) -> list:
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
        answers = await asyncio.gather(*(client.embeddings.create(model=model, input=text) for text in texts))
    return [answer.data[0].embedding for answer in answers]


def main(url: str, model: str, texts: list[str]) -> None:
    client = openai.OpenAI(base_url=url, api_key="none")
    # Without an encoding the client asks for base64 and decodes it itself.
    packed = client.embeddings.create(model=model, input=texts)
    plain = client.embeddings.create(model=model, input=texts, encoding_format="float")
    one = client.embeddings.create(model=model, input=texts[0], dimensions=len(packed.data[0].embedding))
    found = {
        "packed": [entry.embedding for entry in packed.data],
        "plain": [entry.embedding for entry in plain.data],
        "one": one.data[0].embedding,
        "several": asyncio.run(several(url, model, texts)),
        "index": [entry.index for entry in packed.data],
        "tokens": packed.usage.total_tokens,
        "model": packed.model,
        "models": [entry.id for entry in client.models.list()],
        "retrieved": client.models.retrieve(model).model_dump(include={"id", "object", "created", "owned_by"}),
        "unknown": raised(lambda: client.embeddings.create(model="nothing", input="a")),
        "no such model": raised(lambda: client.models.retrieve("nothing")),
        "tokens in": raised(lambda: client.embeddings.create(model=model, input=[[1, 2]])),
        "cut": raised(lambda: client.embeddings.create(model=model, input="a", dimensions=2)),
        "chat": raised(lambda: client.chat.completions.create(model=model, messages=[])),
    }
    print(json.dumps(found))


def refused(url: str, model: str, key: str) -> None:
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    ask = lambda: client.embeddings.create(model=model, input="river")  # noqa: E731
    answered = 0
    try:
        for _ in range(20):
            ask()
            answered += 1
    except openai.APIStatusError as error:
        print(json.dumps([type(error).__name__, error.status_code, answered]))
    else:
        print(json.dumps(["", 200, answered]))


if __name__ == "__main__":
    if len(sys.argv) == 5:
        refused(*sys.argv[1:4])
    else:
        main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
