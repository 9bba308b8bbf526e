"""POST /v1/text/words: what a text will say, without a sound."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cosyserve.http.bodies import read_body
from cosyserve.http.json_body import check_type, read_json
from cosyserve.http.service import service_of
from cosyserve.http.words_json import WordsBody
from cosyserve.speech.fields import check_length
from cosyserve.speech.intake import Intake
from cosyserve.speech.wording import checked_pronunciations, language_tag


async def words(request: Request) -> JSONResponse:
    """JSON in, segments and spans out. Raises RequestRejected, Unavailable."""
    service, intake = service_of(request), Intake.of(request.scope)
    body = await read_body(request, service.body_limits.without_files(), intake)
    check_type(request.headers)
    # What it reads may be as long as what was read.
    intake.take(len(body))
    said = await read_json(WordsBody, body)
    most = service.settings.limits.max_text_chars
    check_length(said.text, "text", most, most)
    language = language_tag((said.language or "").strip(), "language")
    own = checked_pronunciations(said.pronunciations or {}, "pronunciations")
    return JSONResponse(await service.readings.read(said.text, language, own))


routes = [Route("/v1/text/words", words, methods=["POST"])]
