"""The application of the moment: a reload puts another in its place, and what is under way stays where it came in."""

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from cosyserve.http.service import Service


class Front:
    """What connections are given for an application."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    @property
    def service(self) -> Service:
        """That of the application of now."""
        service: Service = self.app.state.service
        return service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self.app(scope, receive, send)
