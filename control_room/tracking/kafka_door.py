"""Being let in by a broker as librdkafka's properties say, for the few questions that are not asked through it.

TLS, and SASL with PLAIN or SCRAM (RFC 5802). What librdkafka alone can do (tickets, tokens, keystores) is refused with
the property's name: the answers are then missing, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from typing import Final

from control_room.tracking.parts import SourceError

_KNOWN: Final = frozenset(
    {
        "security.protocol",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
        "enable.ssl.certificate.verification",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
    }
)
_DECIDING: Final = ("ssl.", "sasl.", "security.", "enable.")
"""What other properties begin with without which nobody is let in."""
_HASHES: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
_HANDSHAKE: Final = (17, 1)
_AUTHENTICATE: Final = (36, 0)
"""Keys and versions (https://kafka.apache.org/protocol, SaslHandshake and SaslAuthenticate)."""
_MAX_ITERATIONS: Final = 100_000

Ask = Callable[[bytes], bytes]
"""Sends one request, gives its answer, both without their length."""


def secured(connection: socket.socket, host: str, client: Mapping[str, str]) -> socket.socket:
    """`connection`, with TLS over it where `client` (librdkafka's properties) says so.

    Raises:
        SourceError: a property that is librdkafka's alone, or a file of keys that cannot be used.
        OSError: the broker's certificate is refused, or the connection broke.
    """
    strange = [name for name in client if name not in _KNOWN and name.startswith(_DECIDING)]
    if strange:
        raise SourceError(f"it cannot be asked with {', '.join(strange)}")
    if "SSL" not in _protocol(client).split("_"):
        return connection
    try:
        return _context(client).wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise SourceError(f"the certificate of {host} is refused: {error.verify_message}") from error


def log_in(client: Mapping[str, str], ask: Ask) -> None:
    """Logs in by SASL where `client` says so.

    Raises:
        SourceError: the broker refuses, or a mechanism that is librdkafka's alone.
    """
    if not _protocol(client).startswith("SASL"):
        return
    mechanism = client.get("sasl.mechanism") or client.get("sasl.mechanisms") or "GSSAPI"
    user, password = client.get("sasl.username", ""), client.get("sasl.password", "")
    if mechanism != "PLAIN" and mechanism not in _HASHES:
        raise SourceError(f"it cannot be asked with sasl.mechanism={mechanism}")
    _checked(ask(_request(_HANDSHAKE, _text(mechanism))))
    if mechanism == "PLAIN":
        _step(ask, f"\0{user}\0{password}".encode())
    else:
        _scram(_HASHES[mechanism], user, password.encode(), lambda words: _step(ask, words))


def _protocol(client: Mapping[str, str]) -> str:
    return client.get("security.protocol", "PLAINTEXT").upper()


def _context(client: Mapping[str, str]) -> ssl.SSLContext:
    place = client.get("ssl.ca.location")
    try:
        context = ssl.create_default_context(cafile=place, cadata=client.get("ssl.ca.pem"))
        if "ssl.certificate.location" in client:
            keys = client["ssl.certificate.location"], client.get("ssl.key.location")
            context.load_cert_chain(*keys, password=client.get("ssl.key.password"))
    except OSError as error:
        raise SourceError(f"its certificates cannot be used: {error.strerror or type(error).__name__}") from error
    if client.get("ssl.endpoint.identification.algorithm", "https") == "none":
        context.check_hostname = False
    if client.get("enable.ssl.certificate.verification", "true") == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _scram(name: str, user: str, password: bytes, step: Callable[[bytes], bytes]) -> None:
    """The four messages of RFC 5802, the broker's own proof checked too; without SASLprep of the password."""
    nonce = secrets.token_urlsafe(18)
    first = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
    challenge = step(f"n,,{first}".encode()).decode("utf-8", "replace")
    told = dict(part.partition("=")[::2] for part in challenge.split(","))
    if not told.get("r", "").startswith(nonce) or not told.get("i", "").isdigit() or not told.get("s"):
        raise SourceError("the broker's challenge is unreadable")
    iterations = int(told["i"])
    if not 0 < iterations <= _MAX_ITERATIONS:
        raise SourceError("the broker's challenge asks for too much")
    try:
        salt = base64.b64decode(told["s"])
    except ValueError as error:
        raise SourceError("the broker's challenge is unreadable") from error
    salted = hashlib.pbkdf2_hmac(name, password, salt, iterations)
    final = f"c=biws,r={told['r']}"
    signed = f"{first},{challenge},{final}".encode()
    key = hmac.digest(salted, b"Client Key", name)
    mine = hmac.digest(hashlib.new(name, key).digest(), signed, name)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, mine, strict=True))).decode()
    answer = step(f"{final},p={proof}".encode())
    theirs = hmac.digest(hmac.digest(salted, b"Server Key", name), signed, name)
    if not hmac.compare_digest(answer.split(b",")[0], b"v=" + base64.b64encode(theirs)):
        raise SourceError("the broker does not know the password either: it is another one than it says")


def _step(ask: Ask, words: bytes) -> bytes:
    """One message of the log-in; what the broker says to it."""
    answer = _checked(ask(_request(_AUTHENTICATE, struct.pack(">i", len(words)) + words)))
    try:
        said = max(0, struct.unpack_from(">h", answer, 0)[0])
        (length,) = struct.unpack_from(">i", answer, 2 + said)
    except struct.error as error:
        raise SourceError("the broker's answer to a log-in is unreadable") from error
    return answer[6 + said : 6 + said + max(0, length)]


def _checked(answer: bytes) -> bytes:
    """What follows the correlation id and an error of 0."""
    if len(answer) < 6:
        raise SourceError("the broker's answer to a log-in is unreadable")
    (error,) = struct.unpack_from(">h", answer, 4)
    if error:
        raise SourceError(f"the broker lets nobody in so (Kafka error {error})")
    return answer[6:]


def _request(kind: tuple[int, int], body: bytes) -> bytes:
    return struct.pack(">hhi", *kind, 1) + _text("control-room") + body


def _text(words: str) -> bytes:
    raw = words.encode()
    return struct.pack(">h", len(raw)) + raw
