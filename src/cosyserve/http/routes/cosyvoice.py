"""The routes of the CosyVoice library's own HTTP runtime, for its clients: a form in, raw PCM out.

Its client sends GET with a form in the body, and others POST the same; a GET without a body may have the fields in its
query.
"""

from starlette.requests import Request
from starlette.routing import Route

from cosyserve.errors import InvalidField, MalformedForm
from cosyserve.http.forms import read_form
from cosyserve.http.responses import SpeechResponse
from cosyserve.http.service import service_of
from cosyserve.protocol import Mode
from cosyserve.speech.fields import Form
from cosyserve.speech.intake import Intake
from cosyserve.speech.requests import FieldNames, read_draft

WITH_PROMPT = FieldNames(text="tts_text", instruction="instruct_text")
WITH_SPEAKER = FieldNames(text="tts_text", instruction="instruct_text", voice="spk_id")
"""`spk_id` names a stored voice, where the library has speakers that a model was trained on."""


async def infer(request: Request, names: FieldNames, mode: Mode | None) -> SpeechResponse:
    """Raises RequestRejected."""
    service, intake = service_of(request), Intake.of(request.scope)
    form: Form
    if request.method in {"GET", "HEAD"} and "content-type" not in request.headers:
        form = _query_form(request)
    else:
        form = await read_form(request, service.body_limits, intake)
    draft = await read_draft(form, names, service.settings.limits.max_text_chars, mode)
    if names is WITH_SPEAKER and not draft.voice:
        raise InvalidField(f"{names.voice} is missing or empty", param=names.voice)
    return await service.speak(draft, intake)


def _query_form(request: Request) -> Form:
    query = request.query_params.multi_items()
    form = dict(query)
    if len(form) < len(query):
        raise MalformedForm("a field is in the query more than once")
    return form


def _route(path: str, names: FieldNames, mode: Mode | None) -> Route:
    async def endpoint(request: Request) -> SpeechResponse:
        return await infer(request, names, mode)

    route = Route(path, endpoint, methods=["GET", "POST"])
    # Starlette answers HEAD wherever it answers GET; nobody wants speech made for a head.
    route.methods = {"GET", "POST"}
    return route


routes = [
    _route("/inference_zero_shot", WITH_PROMPT, Mode.ZERO_SHOT),
    _route("/inference_cross_lingual", WITH_PROMPT, Mode.CROSS_LINGUAL),
    _route("/inference_instruct2", WITH_PROMPT, Mode.INSTRUCT2),
    _route("/inference_sft", WITH_SPEAKER, None),
    _route("/inference_instruct", WITH_SPEAKER, Mode.INSTRUCT2),
]
