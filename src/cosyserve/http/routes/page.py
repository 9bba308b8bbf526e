"""GET / and /page/...: the web page, whole in itself."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cosyserve.http.page_files import PAGE_FILES

# blob: is for recordings and voices that the page itself has fetched. Nothing else comes from elsewhere, nothing in the
# page's text is run, and no other site may put the page into a frame of its own.
POLICY = (
    "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked for anew each time, answered with a 304: a page of one version never runs with a script of another.
    "Cache-Control": "no-cache",
}


async def page(request: Request) -> Response:
    """One of the page's files."""
    file = PAGE_FILES.get(request.scope["path"])
    if file is None:
        raise HTTPException(404)
    headers = {**HEADERS, "ETag": file.etag}
    if _knows(request.headers.get("if-none-match", ""), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


def _knows(sent: str, etag: str) -> bool:
    """Whether the client has this content already. A proxy that compresses makes a tag a weak one (W/)."""
    return any(tag.strip().removeprefix("W/") in {etag, "*"} for tag in sent.split(","))


# It is for people: the description of the API leaves it out.
routes = [Route("/", page, include_in_schema=False), Route("/page/{name}", page, include_in_schema=False)]
