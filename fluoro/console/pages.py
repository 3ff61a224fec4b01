"""The console's socket and its static page."""

from __future__ import annotations

import errno
import gzip
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from fluoro.config import ConsoleConfig
from fluoro.console.access import Access
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
"""Content security policy: the page may request data from this server only."""
MOST_LINES = 20
"""Rejections of different kinds that are logged."""


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
    """The files of the page, read once, for those who may see them.

    Args:
        access: The rules of who may.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._files = {f"/{path.name}": _File.of(path) for path in sorted(WEB.iterdir())}
        self._files["/"] = self._files["/index.html"]
        self._logged: set[str] = set()

    def answer(self, request: Request) -> Response | None:
        """Return the answer to a request; None: it opens the WebSocket and is allowed to."""
        path = request.path.partition("?")[0]
        refusal = self._access.refusal(request)
        if refusal is None and path == "/live":
            refusal = self._access.origin_refusal(request)
            if refusal is None:
                return None
        if refusal:
            self._log_once(refusal.log)
            return _response(refusal.status, f"{refusal.text}\n".encode())
        if path not in self._files:
            return _response(HTTPStatus.NOT_FOUND)
        if path == "/" and self._access.opens_by_token(request):
            headers = {"Location": "./", "Set-Cookie": self._access.cookie()}
            return _response(HTTPStatus.SEE_OTHER, headers=headers)
        return self._files[path].response(request)

    def _log_once(self, line: str) -> None:
        """Log a line the first time; strangers can fill neither the log nor the memory."""
        if line not in self._logged and len(self._logged) < MOST_LINES:
            self._logged.add(line)
            log.warning("%s", line)


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file of the page as it is and as gzip: over a slow link the page comes first."""

    content_type: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, path: Path) -> _File:
        plain = path.read_bytes()
        return cls(content_type=TYPES[path.suffix], plain=plain, packed=gzip.compress(plain))

    def response(self, request: Request) -> Response:
        accepted = ",".join(request.headers.get_all("Accept-Encoding"))
        headers = {"Content-Type": self.content_type, "Vary": "Accept-Encoding"}
        if "gzip" in accepted:
            headers["Content-Encoding"] = "gzip"
        body = self.packed if "gzip" in accepted else self.plain
        return _response(HTTPStatus.OK, body, headers)


def _response(
    status: HTTPStatus, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Response:
    common = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    return Response(status.value, status.phrase, Headers({**common, **(headers or {})}), body)
