"""Logging in to a broker as librdkafka's properties say, for the few questions that are not asked through it."""

import base64
import hashlib
import hmac
import struct

import pytest

from control_room.tracking.kafka_door import log_in, secured
from control_room.tracking.parts import SourceError

PASSWORD = "pencil"
SALT, ROUNDS = b"salt-of-the-broker", 4096


def answer(words=b"", error=0):
    return struct.pack(">ihhi", 1, error, -1, len(words)) + words


class Broker:
    """Speaks SCRAM as a broker that knows one user."""

    def __init__(self, name="sha512", password=PASSWORD, knows=True):
        self.name, self.knows = name, knows
        self.salted = hashlib.pbkdf2_hmac(name, password.encode(), SALT, ROUNDS)
        self.asked = []

    def __call__(self, request):
        key = struct.unpack_from(">h", request)[0]
        body = request[10 + len("control-room") :]
        self.asked.append((key, body))
        if key == 17:
            return struct.pack(">ihi", 1, 0, 0)
        words = body[4:].decode()
        return answer(*self.first(words) if words.startswith("n,,") else self.last(words))

    def first(self, words):
        self.bare = words.removeprefix("n,,")
        self.nonce = self.bare.partition("r=")[2] + "broker"
        self.challenge = f"r={self.nonce},s={base64.b64encode(SALT).decode()},i={ROUNDS}"
        return (self.challenge.encode(),)

    def last(self, words):
        final, _, proof = words.rpartition(",p=")
        signed = f"{self.bare},{self.challenge},{final}".encode()
        client_key = hmac.digest(self.salted, b"Client Key", self.name)
        stored = hashlib.new(self.name, client_key).digest()
        mask = hmac.digest(stored, signed, self.name)
        theirs = bytes(a ^ b for a, b in zip(base64.b64decode(proof), mask, strict=True))
        if hashlib.new(self.name, theirs).digest() != stored:
            return b"", 58
        server_key = hmac.digest(self.salted if self.knows else b"another", b"Server Key", self.name)
        return (b"v=" + base64.b64encode(hmac.digest(server_key, signed, self.name)),)


def properties(mechanism, password=PASSWORD, user="bruce"):
    named = {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}
    return {"security.protocol": "SASL_SSL", **named}


@pytest.mark.parametrize(("mechanism", "name"), [("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-512", "sha512")])
def test_the_right_password_gets_in_and_is_never_sent(mechanism, name):
    broker = Broker(name)
    log_in(properties(mechanism, user="a=b,c"), broker)
    assert [key for key, _ in broker.asked] == [17, 36, 36]
    assert b"n=a=3Db=2Cc," in broker.asked[1][1]
    assert not any(PASSWORD.encode() in body for _, body in broker.asked)


def test_a_wrong_password_is_refused_by_the_broker():
    with pytest.raises(SourceError, match="lets nobody in so"):
        log_in(properties("SCRAM-SHA-512", "pen"), Broker())


def test_a_broker_that_does_not_know_the_password_is_not_believed():
    with pytest.raises(SourceError, match="does not know the password"):
        log_in(properties("SCRAM-SHA-512"), Broker(knows=False))


def test_plain_sends_user_and_password():
    broker = Broker()
    broker.first = lambda words: pytest.fail("no SCRAM")
    broker.last = lambda words: (words.encode(),)
    log_in(properties("PLAIN"), broker)
    assert broker.asked[1][1][4:] == b"\0bruce\0pencil"


def test_without_sasl_nobody_is_asked():
    log_in({"security.protocol": "SSL"}, lambda request: pytest.fail("asked"))
    log_in({}, lambda request: pytest.fail("asked"))


def test_what_only_librdkafka_can_do_is_named():
    with pytest.raises(SourceError, match=r"sasl\.mechanism=OAUTHBEARER"):
        log_in(properties("OAUTHBEARER"), lambda request: pytest.fail("asked"))
    with pytest.raises(SourceError, match=r"with ssl\.keystore\.location$"):
        secured(None, "broker", {"security.protocol": "SSL", "ssl.keystore.location": "x", "socket.timeout.ms": "9"})


@pytest.mark.parametrize("words", [b"", b"r=x,s=c2FsdA==,i=4096", b"junk", b"\xff\xff"])
def test_a_challenge_that_is_none_ends_the_log_in(words):
    with pytest.raises(SourceError):
        log_in(properties("SCRAM-SHA-512"), lambda request: answer(words))
