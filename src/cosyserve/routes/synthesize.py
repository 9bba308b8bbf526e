"""POST /synthesize: a form in, streamed speech out."""

from starlette.requests import Request
from starlette.routing import Route

from cosyserve.requests import parse_speech_request, read_form
from cosyserve.responses import SpeechResponse
from cosyserve.service import service_of


async def synthesize(request: Request) -> SpeechResponse:
    """Check the form; the response does the rest."""
    service = service_of(request)
    server = service.settings.server
    form = await read_form(request, server.max_upload_bytes, server.client_stall_timeout_s)
    speech = await parse_speech_request(form, service.defaults, service.settings.limits.max_text_chars)
    return SpeechResponse(service.pool, speech, server.client_stall_timeout_s)


routes = [Route("/synthesize", synthesize, methods=["POST"])]
