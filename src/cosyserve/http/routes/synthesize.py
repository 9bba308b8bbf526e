"""POST /synthesize: a form in, streamed speech out."""

from starlette.requests import Request
from starlette.routing import Route

from cosyserve.http.forms import read_form
from cosyserve.http.responses import SpeechResponse
from cosyserve.http.service import service_of
from cosyserve.speech.intake import Intake
from cosyserve.speech.requests import FieldNames, read_draft

NAMES = FieldNames()


async def synthesize(request: Request) -> SpeechResponse:
    """Check the form; the response does the rest."""
    service, intake = service_of(request), Intake.of(request.scope)
    form = await read_form(request, service.body_limits, intake)
    return await service.speak(await read_draft(form, NAMES, service.settings.limits.max_text_chars), intake)


routes = [Route("/synthesize", synthesize, methods=["POST"])]
