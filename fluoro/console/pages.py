"""The console's socket and its static page: who may ask, and what they get."""

from __future__ import annotations

import errno
import logging
import socket
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from fluoro.config import ConsoleConfig
from fluoro.errors import OutputError

__all__ = ["Pages", "listen", "url_of"]

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
DEFAULT_PORTS = 20
"""Ports that are tried, from the default one on, where the configuration names none."""
POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"
"""Content security policy: the page may ask nobody but this server."""


def listen(config: ConsoleConfig) -> socket.socket:
    """Return a listening TCP socket at the configured address.

    Where the configuration names no port and the default one is in use, the next free one is taken
    and logged.

    Raises:
        OutputError: The port is in use or not allowed, or the address is not this machine's.
    """
    named = "port" in config.model_fields_set
    for port in (config.port,) if named else range(config.port, config.port + DEFAULT_PORTS):
        try:
            server = _listen_at(config.host, port)
        except OSError as error:
            refused = error
            if error.errno == errno.EADDRINUSE:
                continue
            break
        if port != config.port:
            log.warning("port %d is in use: the console takes port %d", config.port, port)
        return server
    raise OutputError(_refused(config, refused)) from None


def _listen_at(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: It cannot be had; a name that does not resolve has no error number of its own.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = infos[0]
    server = socket.socket(family, kind, protocol)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen()
    except OSError:
        server.close()
        raise
    return server


def _refused(config: ConsoleConfig, error: OSError) -> str:
    fix = "choose another with --set console.port=PORT (0: any free one)"
    if error.errno == errno.EADDRINUSE:
        return f"console.port must be free, but {config.port} on {config.host} is in use; {fix}"
    if error.errno == errno.EACCES:
        return f"console.port must be one you may open, but {config.port} is not; {fix}"
    return _host_refused(config, error)


def _host_refused(config: ConsoleConfig, error: OSError) -> str:
    return (
        f"console.host must be an address of this machine, got {config.host!r}: "
        f"{error.strerror}; 127.0.0.1 always is"
    )


def url_of(server: socket.socket) -> str:
    """Return the address of the page for a browser on this machine.

    A server that is bound to all addresses is named by the loopback address: that one also leads
    from a container's host to a port that the container publishes.
    """
    host, port = server.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Pages:
    """The files of the page, read once, and the rules of who may see them.

    A page of another site, open in the same browser, may not drive the console: a WebSocket must
    come from this page (Origin), and at a loopback address nothing but a loopback name is
    answered (Host), whatever a foreign name server says.

    Args:
        loopback: The server is bound to a loopback address.
    """

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback
        self._files = {f"/{path.name}": path.read_bytes() for path in WEB.iterdir()}
        self._files["/"] = self._files["/index.html"]

    def answer(self, request: Request) -> Response | None:
        """The answer to a request; None: it asks for the WebSocket and may have it."""
        host = request.headers.get("Host", "")
        if self._loopback and not _is_loopback(urlsplit(f"//{host}").hostname or ""):
            return _response(HTTPStatus.FORBIDDEN)
        path = urlsplit(request.path).path
        if path == "/live":
            origin = request.headers.get("Origin")
            foreign = origin is not None and urlsplit(origin).netloc != host
            return _response(HTTPStatus.FORBIDDEN) if foreign else None
        if path not in self._files:
            return _response(HTTPStatus.NOT_FOUND)
        return _response(HTTPStatus.OK, self._files[path], TYPES[Path(path).suffix or ".html"])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _response(
    status: HTTPStatus, body: bytes = b"", content_type: str = TYPES[".html"]
) -> Response:
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    return Response(status.value, status.phrase, Headers(headers), body)
