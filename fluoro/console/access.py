"""Who may use the console: by which host name, from which page, and with which token."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request

from fluoro.config import ConsoleConfig
from fluoro.config.outputs import checked_token
from fluoro.errors import InputError

__all__ = ["Access", "Refusal"]

TOKEN_VARIABLE = "FLUORO_CONSOLE_TOKEN"
"""Environment variable with the token, where the configuration has none."""
TOKEN_BYTES = 18
"""Random bytes of a token that is drawn: 24 letters."""
LONGEST = 100
"""Characters of a header that are repeated to a user."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a request is rejected.

    Attributes:
        text: For the client; it has no information that a stranger must not have.
        log: For the operator of the simulator: the request, and the key that would allow it.
    """

    text: str
    log: str
    status: HTTPStatus = HTTPStatus.FORBIDDEN


@dataclass(frozen=True, kw_only=True)
class Access:
    """The rules by which a request is answered.

    A page of another site, open in the same browser, may not drive the console. So the Host must
    be a name of this console (a foreign name server may point any name at it), and a WebSocket
    must come from its own page (Origin). Where others than this machine may connect, or where the
    user gives a token, the token is needed too.

    Attributes:
        port: TCP port of the console; it makes the cookie's name unique on this machine.
        loopback: Whether only this machine can connect.
        names: Further host names that are answered, in lower case.
        public: Address in the browser behind a reverse proxy; None: no proxy.
        token: What a browser must bring; None: nothing.
    """

    port: int
    loopback: bool
    names: frozenset[str] = frozenset()
    public: SplitResult | None = None
    token: str | None = None

    @classmethod
    def of(
        cls,
        config: ConsoleConfig,
        listening: socket.socket,
        environment: Mapping[str, str] = os.environ,
    ) -> Access:
        """Return the rules of a configuration for a socket that listens.

        Raises:
            InputError: FLUORO_CONSOLE_TOKEN is no usable token.
        """
        address, port = listening.getsockname()[:2]
        loopback = ip_address(address).is_loopback
        public = urlsplit(config.public_url) if config.public_url else None
        names = {*config.allowed_hosts, (public.hostname or "") if public else ""}
        if not loopback:
            names |= {config.host.lower(), socket.gethostname().lower()}
        token = config.token or _token_of(environment)
        if token is None and (public or not loopback):
            token = secrets.token_urlsafe(TOKEN_BYTES)
        return cls(
            port=port,
            loopback=loopback,
            names=frozenset(names - {""}),
            public=public,
            token=token,
        )

    def address(self, local_url: str) -> str:
        """Return the address to open in a browser, with the token where one is needed.

        Args:
            local_url: Address of the socket, ending in a slash.
        """
        url = self.public.geturl() if self.public else local_url
        return f"{url}?token={self.token}" if self.token else url

    def refusal(self, request: Request) -> Refusal | None:
        """Return why a request is rejected; None: it is answered."""
        host = _one(request.headers, "Host")
        if not self._answers_to(host):
            return _foreign_name(host)
        if self.token and not any(self._is_token(word) for word in self._offered(request)):
            return _NO_TOKEN
        return None

    def origin_refusal(self, request: Request) -> Refusal | None:
        """Return why a WebSocket is rejected that passed `refusal`; None: it may open."""
        origins, host = request.headers.get_all("Origin"), _one(request.headers, "Host")
        if all(self._is_own(origin, host) for origin in origins):
            return None
        return Refusal(
            text="this WebSocket is for the console's own page",
            log=f"console: rejected the WebSocket of a page at {_shown(origins[0])}, which came "
            f"by {_shown(host)}; behind a reverse proxy set console.public_url to the address in "
            "the browser",
        )

    def opens_by_token(self, request: Request) -> bool:
        """Return whether a request carries the right token in its address."""
        return bool(self.token) and any(self._is_token(word) for word in _in_query(request))

    def cookie(self) -> str:
        """Return the Set-Cookie that lets the browser come back without the address's token."""
        secure = "; Secure" if self.public and self.public.scheme == "https" else ""
        return f"{self._cookie_name}={self.token}; Path=/; HttpOnly; SameSite=Lax{secure}"

    @property
    def _cookie_name(self) -> str:
        return f"fluoro_{self.port}"

    def _answers_to(self, host: str) -> bool:
        name = _host_name(host)
        try:
            return ip_address(name).is_loopback or not self.loopback or name in self.names
        except ValueError:
            return name == "localhost" or name in self.names

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page's origin is that of the console's own page."""
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        public = self.public
        if public and (page.scheme, page.netloc) == (public.scheme, public.netloc):
            return True
        return page.netloc.lower() == host.lower()

    def _offered(self, request: Request) -> list[str]:
        """Tokens that a request brings: in its address, as a cookie, or as a bearer."""
        bearers = [
            value[len("Bearer ") :].strip()
            for value in request.headers.get_all("Authorization")
            if value.lower().startswith("bearer ")
        ]
        return [*_in_query(request), *self._in_cookies(request), *bearers]

    def _in_cookies(self, request: Request) -> list[str]:
        pairs = [
            pair.strip().partition("=")
            for header in request.headers.get_all("Cookie")
            for pair in header.split(";")
        ]
        return [value for name, _, value in pairs if name == self._cookie_name]

    def _is_token(self, word: str) -> bool:
        """Compare in a time that does not depend on how much of the token is right."""
        return secrets.compare_digest(word.encode(errors="replace"), (self.token or "").encode())


_NO_TOKEN = Refusal(
    text="this console needs its token: open the address that the simulator printed",
    log="console: rejected a request without the right token; the printed address has it",
)


def _foreign_name(host: str) -> Refusal:
    name = _host_name(host) or host
    return Refusal(
        text=f"this console does not answer to the name {_shown(name)}",
        log=f"console: rejected a request by the host name {_shown(name)}; "
        "console.allowed_hosts names those that may be used",
    )


def _one(headers: Headers, name: str) -> str:
    """A header that must not be repeated; empty: not given, or given twice."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else ""


def _host_name(host: str) -> str:
    """The name in a Host header, in lower case and without the port; empty: it has none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _in_query(request: Request) -> list[str]:
    try:
        return parse_qs(urlsplit(request.path).query, max_num_fields=16).get("token", [])
    except ValueError:
        return []


def _shown(text: str) -> str:
    return repr(text[:LONGEST])


def _token_of(environment: Mapping[str, str]) -> str | None:
    """The token in the environment; None: there is none."""
    token = environment.get(TOKEN_VARIABLE)
    if not token:
        return None
    try:
        return checked_token(token)
    except ValueError as error:
        raise InputError(f"{TOKEN_VARIABLE} {error}") from None
