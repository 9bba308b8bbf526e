"""What the routes share."""

from dataclasses import dataclass

from starlette.requests import Request

from cosyserve.pool import Pool
from cosyserve.requests import Defaults
from cosyserve.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """One a process; lives in the application's state."""

    settings: Settings
    pool: Pool
    defaults: Defaults


def service_of(request: Request) -> Service:
    """The service behind this request."""
    service: Service = request.app.state.service
    return service
