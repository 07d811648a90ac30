"""The page's web server: this machine alone reaches it, and it only reads."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from sim_eval.foundation.errors import RunError
from sim_eval.report.stylesheet import scrolling, stylesheet
from sim_eval.runs.videos import VIDEO
from sim_eval.view import connections
from sim_eval.view.catalog import Catalog
from sim_eval.view.connections import Connection
from sim_eval.view.entry import Entry, Videos
from sim_eval.view.query import Query, answer

_HERE = Path(__file__).parent / "templates"

#: Seconds that an answer may take to read run folders; the page asks for the rest at once. It waits longer where it has
#: drawn something already, for drawing takes time, too.
_FIRST_S, _NEXT_S = 0.2, 1.0

_CLOSED = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

# matplotlib's settings, which the figures of a report change for a while, are the whole process's.
_drawing = threading.Lock()


def application(root: Path, videos: Path) -> Starlette:
    """The page over all run folders of `root`, with the videos below it and below `videos`; both paths are resolved.

    A request for another host than this machine is refused.
    """
    served = Videos((root, videos))
    catalog = Catalog(root, served)

    def view(request: Request) -> Response:
        """The runs and episodes that pass the filters; nothing if the page has seen this version of them."""
        parameters = dict(request.query_params)
        seen = parameters.pop("seen", None)
        query = Query.of(parameters)
        entries = catalog.refresh(_NEXT_S if seen else _FIRST_S)
        version, reading = str(catalog.version), catalog.reading
        if seen == version and not reading:
            return _safe(Response(status_code=204))
        found = {"version": version, "reading": reading, **answer(entries, query)}
        # In ASCII: names of files and texts of records may hold what UTF-8 cannot.
        return _safe(Response(json.dumps(found), media_type="application/json"))

    def report(request: Request) -> Response:
        """The report of the runs named, as `sim-eval compare` would write it. Links to videos are relative to it."""
        wanted = request.query_params.getlist("run")
        entries = {entry.id: entry for entry in catalog.refresh(_FIRST_S)}
        if not wanted or any(name not in entries for name in wanted):
            raise RunError("no such run; go back and choose again")
        with _drawing:
            text = _report([entries[name] for name in dict.fromkeys(wanted)], served.base)
        return _safe(HTMLResponse(text.encode(errors="replace")), _report_policy(text))

    def video(request: Request) -> Response:
        path = served.at(request.path_params["path"])
        if path is None:
            return _safe(PlainTextResponse("no such video", 404))
        return _safe(FileResponse(path, media_type="video/mp4" if path.suffix == VIDEO else "image/png"))

    return Starlette(
        routes=[
            Route("/", _page),
            Route("/page.js", _script),
            Route("/scrolling.js", _scrolling),
            Route("/style.css", _style),
            Route("/view.json", view),
            Route("/files/report", report),
            Route("/files/{path:path}", video),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        exception_handlers={RunError: _refused},
    )


def _report(entries: list[Entry], base: Path) -> str:
    """The page of these runs, with links relative to `base`, or the curves of these learners.

    Raises RunError if both kinds are among them.
    """
    # They load matplotlib and SciPy, for which the first view shall not wait.
    from sim_eval.analysis.compare import compare
    from sim_eval.analysis.curves import read_curves
    from sim_eval.report import learning_curves
    from sim_eval.report.html import html

    folders = [entry.folder for entry in entries]
    if all(entry.learned for entry in entries):
        return learning_curves.html(read_curves(folders))
    if any(entry.learned for entry in entries):
        raise RunError("learning curves and evaluations have no report in common; choose some of one kind")
    return html(compare(folders), base)


def _page(request: Request) -> Response:
    policy = (
        f"{_CLOSED}; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self'; img-src 'self' data:"
    )
    return _safe(FileResponse(_HERE / "page.html"), policy)


def _script(request: Request) -> Response:
    return _safe(FileResponse(_HERE / "page.js"))


def _scrolling(request: Request) -> Response:
    return _safe(Response(scrolling(), media_type="text/javascript"))


def _style(request: Request) -> Response:
    text = stylesheet() + (_HERE / "page.css").read_text(encoding="utf-8")
    return _safe(Response(text, media_type="text/css"))


def _refused(request: Request, error: Exception) -> Response:
    return _safe(PlainTextResponse(str(error).encode(errors="replace"), 400))


def _report_policy(text: str) -> str:
    """The content policy of a report, which may run its own script alone, the last one, by its hash."""
    _, _, last_script = text.rpartition("<script>")
    digest = hashlib.sha256(last_script.partition("</script>")[0].encode()).digest()
    allowed = f"script-src 'sha256-{base64.b64encode(digest).decode()}'; style-src 'unsafe-inline'; img-src data:"
    return f"{_CLOSED}; {allowed}; media-src 'self'"


def _safe(response: Response, policy: str = _CLOSED) -> Response:
    """The response with headers that keep browsers from running, guessing, caching or showing more than is meant."""
    response.headers.update(
        {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }
    )
    return response


HOST = "127.0.0.1"


def view(root: Path, videos: Path, port: int) -> None:
    """Listen, print the address, and answer until SIGINT or SIGTERM. Raises RunError if the port is taken."""
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise RunError(f"port is {port}: {error.strerror}; accepted: a free one, or 0 for any") from None
    with listener, contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
        print(f"http://{HOST}:{listener.getsockname()[1]} shows {root}; Ctrl-C ends it", flush=True)
        server_of(root, videos).run(sockets=[listener])


def server_of(root: Path, videos: Path) -> uvicorn.Server:
    """The server of `application`; it closes connections that send no whole request."""
    return uvicorn.Server(
        uvicorn.Config(
            application(root, videos), http=Connection, ws="none", backlog=connections.BACKLOG, log_level="warning"
        )
    )
