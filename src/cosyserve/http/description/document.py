"""The OpenAPI document, whole."""

from typing import Any

from cosyserve import __version__
from cosyserve.errors import Unauthorized
from cosyserve.http.description.managing import managing_paths
from cosyserve.http.description.operations import Kinds
from cosyserve.http.description.schemas import components
from cosyserve.http.description.speaking import speaking_paths
from cosyserve.settings.sections import Settings

_ABOUT = """Text to speech, streamed as it is made.

Every answer has the header `X-Request-Id`, under which the log has the request; a `traceparent` (W3C Trace
Context) that is sent comes back in `traceresponse`. Every error has the one shape of the schema `Error`."""


def build_document(settings: Settings) -> dict[str, Any]:
    """As true as the settings make it: limits are theirs, and keys are asked for where there are any."""
    needs_key = settings.server.needs_key
    guarded: Kinds = (Unauthorized,) if needs_key else ()
    named: Kinds = () if settings.server.public_names else guarded
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "cosyserve", "version": __version__, "description": _ABOUT},
        "paths": {**speaking_paths(settings, guarded), **managing_paths(guarded, named)},
        "components": {"schemas": components(settings)},
    }
    if needs_key:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        }
        for methods in document["paths"].values():
            for operation in methods.values():
                if "401" in operation["responses"]:
                    operation["security"] = [{"bearer": []}, {"header": []}]
    return document
