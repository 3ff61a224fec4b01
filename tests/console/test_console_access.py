"""Who may use the console: host names, pages of other sites, tokens, reverse proxies."""

import logging
import socket
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError
from websockets.exceptions import InvalidStatus

from fluoro.config import ConsoleConfig
from fluoro.errors import InputError
from tests.console_support import Consoles, Peer, make_config, make_controls, request, wait_until

ANYWHERE = "0.0.0.0"
TOKEN = "a-fixed-token-of-a-test"


@pytest.fixture
def start_console(monkeypatch):
    """Starts consoles at a free port; returns console and address; closes them at the end."""
    monkeypatch.delenv("FLUORO_CONSOLE_TOKEN", raising=False)
    consoles = Consoles()
    yield consoles.start
    consoles.close()


def token_in(url):
    return parse_qs(urlsplit(url).query)["token"][0]


def local(url):
    """The same console by its loopback address, without the token."""
    return f"http://127.0.0.1:{urlsplit(url).port}/"


def cookie_in(head):
    (line,) = [line for line in head.splitlines() if line.lower().startswith("set-cookie:")]
    return line.split(":", 1)[1].strip()


def status_of_socket(url, **options):
    """The HTTP status with which a WebSocket is answered; 101: it opens."""
    try:
        peer = Peer(url, **options)
    except InvalidStatus as refused:
        return refused.response.status_code
    peer.next("hello")
    peer.socket.close()
    return HTTPStatus.SWITCHING_PROTOCOLS


def proxied(url, origin, host=None):
    """The statuses of page and WebSocket, as a reverse proxy asks for them with the token."""
    names = {"Authorization": f"Bearer {TOKEN}", "Origin": origin}
    return request(url, "/", host, **names)[0], handshake(url, host, **names)


def handshake(url, host=None, **headers):
    """The HTTP status of a WebSocket's handshake with any Host."""
    address = urlsplit(url).netloc
    fixed = {"Host": host or address, "Upgrade": "websocket", "Connection": "Upgrade"}
    fixed |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    lines = [f"{name}: {value}" for name, value in {**fixed, **headers}.items()]
    with socket.create_connection(address.split(":"), timeout=10) as connection:
        connection.sendall("\r\n".join(["GET /live HTTP/1.1", *lines, "", ""]).encode())
        return int(connection.recv(64).split()[1])


# Host names


@pytest.mark.parametrize("host", ["127.0.0.1", ANYWHERE])
def test_a_page_at_a_foreign_name_gets_neither_page_nor_websocket(start_console, caplog, host):
    """DNS rebinding: a name server may point any name at this machine, token or not."""
    _, url = start_console(host=host)
    for path in ("/", f"/?{urlsplit(url).query}", f"/live?{urlsplit(url).query}"):
        status, _, body = request(local(url), path, host="evil.example:8080")
        assert status == HTTPStatus.FORBIDDEN
        assert b"does not answer to the name 'evil.example'" in body
    lines = [line for line in caplog.messages if "'evil.example'" in line]
    assert len(lines) == 1, "one line, however often it asks"
    assert "console.allowed_hosts" in lines[0]


@pytest.mark.parametrize("host", ["127.0.0.1", ANYWHERE])
def test_allowed_hosts_names_what_else_is_answered(start_console, host):
    _, url = start_console(host=host, token=TOKEN, allowed_hosts=["Carm.Example", "10.1.2.3"])
    for name in ("carm.example:8080", "CARM.example", "10.1.2.3:80", "localhost", "127.0.0.1"):
        assert request(local(url), f"/console.js?token={TOKEN}", name)[0] == HTTPStatus.OK, name
    assert request(local(url), f"/?token={TOKEN}", "example")[0] == HTTPStatus.FORBIDDEN


def test_this_machine_s_own_name_is_answered_where_all_addresses_are_bound(start_console):
    _, url = start_console(host=ANYWHERE, token=TOKEN)
    for name in (socket.gethostname(), "192.0.2.7:8080", "[2001:db8::1]:8080"):
        assert request(local(url), f"/console.js?token={TOKEN}", name)[0] == HTTPStatus.OK, name


@pytest.mark.parametrize("host", ["", "[", "a b", ":80", "@", "\x80"])
def test_a_host_that_is_no_name_is_not_answered(start_console, host):
    _, url = start_console()
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=10) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        assert connection.recv(100).split()[1] == b"403"


# Token


def test_on_loopback_no_token_is_requested(start_console):
    _, url = start_console()
    assert "token" not in url
    assert request(url)[0] == HTTPStatus.OK
    assert status_of_socket(url) == HTTPStatus.SWITCHING_PROTOCOLS


def test_beyond_loopback_page_and_websocket_need_the_token_of_the_printed_address(start_console):
    _, url = start_console(host=ANYWHERE)
    token, here = token_in(url), local(url)
    assert len(token) >= 20
    for path in ("/", "/console.js", "/?token=", "/?token=wrong", f"/?token={token}x"):
        status, _, body = request(here, path)
        assert status == HTTPStatus.FORBIDDEN, path
        assert token.encode() not in body
    assert status_of_socket(here) == HTTPStatus.FORBIDDEN
    assert status_of_socket(f"{here}?token=wrong") == HTTPStatus.FORBIDDEN
    assert status_of_socket(f"{here}?token={token}") == HTTPStatus.SWITCHING_PROTOCOLS


def test_one_click_on_the_printed_address_is_enough_and_a_reload_works(start_console):
    _, url = start_console(host=ANYWHERE)
    status, head, _ = request(local(url), f"/?token={token_in(url)}")
    assert status == HTTPStatus.SEE_OTHER
    assert "\r\nLocation: ./\r\n" in head
    cookie, *flags = cookie_in(head).split("; ")
    assert {"HttpOnly", "SameSite=Lax"} <= set(flags)
    for path in ("/", "/console.js"):
        assert request(local(url), path, Cookie=f"other=1; {cookie}")[0] == HTTPStatus.OK
    headers = {"additional_headers": {"Cookie": cookie}}
    assert status_of_socket(local(url), **headers) == HTTPStatus.SWITCHING_PROTOCOLS


def test_each_start_draws_another_token(start_console):
    tokens = {token_in(start_console(host=ANYWHERE)[1]) for _ in range(3)}
    assert len(tokens) == 3


def test_a_token_can_be_fixed_by_key_or_environment(start_console, monkeypatch):
    assert token_in(start_console(token=TOKEN)[1]) == TOKEN
    monkeypatch.setenv("FLUORO_CONSOLE_TOKEN", "one-of-the-environment")
    _, url = start_console()
    assert token_in(url) == "one-of-the-environment"
    assert request(local(url))[0] == HTTPStatus.FORBIDDEN, "given, it counts on loopback too"
    assert token_in(start_console(token=TOKEN)[1]) == TOKEN
    monkeypatch.setenv("FLUORO_CONSOLE_TOKEN", "short")
    with pytest.raises(InputError, match=r"^FLUORO_CONSOLE_TOKEN must be 16 to 128 letters"):
        start_console()


def test_tokens_are_compared_in_constant_time(start_console, monkeypatch):
    compared = []
    monkeypatch.setattr("secrets.compare_digest", lambda a, b: compared.append(a) or a == b)
    _, url = start_console(token=TOKEN)
    assert request(local(url), f"/console.js?token={TOKEN}")[0] == HTTPStatus.OK
    assert compared == [TOKEN.encode()]


def test_the_token_is_neither_in_the_record_nor_in_the_log(start_console, caplog):
    caplog.set_level(logging.DEBUG)
    start_console(host=ANYWHERE, token=TOKEN)
    assert TOKEN not in caplog.text
    config = make_config(console={"token": TOKEN})
    assert TOKEN not in f"{config.model_dump_json(by_alias=True)}{config!r}"


def test_a_console_beyond_loopback_is_logged_as_a_warning(start_console, caplog):
    start_console()
    assert caplog.records == []
    start_console(host=ANYWHERE)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "NOT LIMITED TO THIS MACHINE" in record.getMessage()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("token", "tooshort", "must be 16 to 128 letters"),
        ("token", "with a space in it ", "must be 16 to 128 letters"),
        ("allowed_hosts", ["http://carm.example"], "must be a host name or an IP address"),
        ("allowed_hosts", ["carm.example:80"], "must be a host name or an IP address"),
        ("allowed_hosts", ["*"], "must be a host name or an IP address"),
        ("public_url", "carm.example", "must be an address such as https://"),
        ("public_url", "https://user@carm.example/", "must be an address such as https://"),
        ("public_url", "https://carm.example/?a=1", "must be an address such as https://"),
    ],
)
def test_a_key_that_does_not_fit_is_named(key, value, words):
    with pytest.raises(ValidationError, match=words) as caught:
        ConsoleConfig(**{key: value})
    told = caught.value.errors()[0]["msg"]
    assert (value not in told) if key == "token" else (str(value).strip("[]") in told)


# Reverse proxies


def test_a_page_behind_a_reverse_proxy_without_the_key_is_logged_with_the_key(
    start_console, caplog
):
    """The proxy passes its own Host on: the page comes, the WebSocket is that of another site."""
    _, url = start_console()
    assert proxied(url, "https://carm.example") == (HTTPStatus.OK, HTTPStatus.FORBIDDEN)
    (line,) = caplog.messages
    assert "'https://carm.example'" in line
    assert "console.public_url" in line


@pytest.mark.parametrize("host", [None, "carm.example", "carm.example:8443"])
def test_public_url_lets_page_and_websocket_through_a_reverse_proxy(start_console, host):
    """Whether the proxy passes on its own Host or the browser's."""
    console, url = start_console(token=TOKEN, public_url="https://carm.example:8443/lab")
    assert url == f"https://carm.example:8443/lab/?token={TOKEN}"
    here = f"http://127.0.0.1:{console.port}/"
    both = (HTTPStatus.OK, HTTPStatus.SWITCHING_PROTOCOLS)
    assert proxied(here, "https://carm.example:8443", host) == both
    for foreign in ("https://carm.example:9999", "https://evil.example", "null"):
        assert proxied(here, foreign, host)[1] == HTTPStatus.FORBIDDEN, foreign
    assert handshake(here, host, Origin="https://carm.example:8443") == HTTPStatus.FORBIDDEN


def test_behind_a_reverse_proxy_a_token_is_needed_though_the_socket_is_on_loopback(start_console):
    _, url = start_console(public_url="https://carm.example/")
    assert url.startswith("https://carm.example/?token=")


def test_the_page_is_packed_for_browsers_that_say_so(start_console):
    _, url = start_console()
    _, head, packed = request(url, Accept_Encoding="gzip, br")
    assert "Content-Encoding: gzip" in head
    plain = request(url)[2]
    assert len(packed) < len(plain) / 2


def test_controls_reach_the_graph_with_the_token(start_console):
    controls = make_controls()
    _, url = start_console(controls, host=ANYWHERE)
    peer = Peer(f"{local(url)}?token={token_in(url)}")
    peer.send(set={"dose_ngy": 33.0})
    wait_until(lambda: controls.snapshot().dose_ngy == 33.0, "the change")
    peer.socket.close()
