"""Services of a stack elsewhere answer over HTTPS, and a certificate that nobody vouches for is refused."""

import http.server
import ssl
import threading

import pytest
import trustme

from control_room.stack.local.readiness import service_answer
from control_room.tracking.evidence.ledger_pages import LedgerSource
from control_room.tracking.http_source import fetch_json
from control_room.tracking.parts import SourceError


class _Member(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"assigned": [0]}\n'
        self.send_response(200)
        for name, value in (("Content-Length", len(body)), ("X-Next-Line", 1), ("X-Ledger-Lines", 1)):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Not on the terminal."""


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def url(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Member)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # a client that refuses the certificate hangs up
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_certificate_of_ones_own_authority_is_accepted(url, authority, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert fetch_json(f"{url}/status") == {"assigned": [0]}
    assert service_answer("dispatcher", url, "there") == ""
    assert LedgerSource(url).position() == 1


def test_another_certificate_is_refused(url, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(SourceError, match=r"the certificate of 127\.0\.0\.1:\d+ is refused"):
        fetch_json(f"{url}/status")
    assert "no answer there" in service_answer("dispatcher", url, "there")
    with pytest.raises(SourceError, match="merchant-server does not answer: SSLCertVerificationError"):
        LedgerSource(url).position()


def test_what_has_no_address_is_not_asked_at_all():
    with pytest.raises(SourceError, match="no address of it is configured"):
        fetch_json("")
    with pytest.raises(SourceError, match="no merchant-server with a ledger is configured"):
        LedgerSource("").position()
