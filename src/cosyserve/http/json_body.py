"""A JSON body to a model of it: off the event loop where it is long, and told why where it is none."""

from typing import TypeVar

import anyio.to_thread
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers

from cosyserve.errors import InvalidField, MalformedJson, TextTooLong
from cosyserve.http.bodies import LONG_BYTES, content_type
from cosyserve.speech.json_text import MAX_MARKS, sprawls, without_halves

JSON_TYPE = "application/json"

Body = TypeVar("Body", bound=BaseModel)


def check_type(headers: Headers) -> None:
    """Raises MalformedJson where the body is said to be something else."""
    kind = content_type(headers)
    if kind != JSON_TYPE:
        raise MalformedJson(f"the body is {kind or 'of no stated type'}: send JSON with Content-Type: {JSON_TYPE}")


async def read_json(model: type[Body], body: bytes | bytearray) -> Body:
    """What it says. Raises MalformedJson, InvalidField."""
    if len(body) > LONG_BYTES:
        return await anyio.to_thread.run_sync(_validated, model, body)
    return _validated(model, body)


def _validated(model: type[Body], body: bytes | bytearray) -> Body:
    if sprawls(body):
        raise MalformedJson(f"the body has more than {MAX_MARKS} commas, colons and brackets")
    try:
        return model.model_validate_json(without_halves(body))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    problem = next((one for one in problems if one["type"] == "string_too_long"), problems[0])
    if not problem["loc"]:
        raise MalformedJson(f"the body is not a JSON object: {problem['msg']}")
    name, message = str(problem["loc"][0]), problem["msg"]
    if problem["type"] == "string_too_long":
        raise TextTooLong(f"{name}: {message[0].lower()}{message[1:]}", param=name)
    raise InvalidField(f"{name}: {message[0].lower()}{message[1:]}", param=name)
