"""What is too large, or too much, is refused by name; what is allowed works up to the limit."""

import hashlib
import os

from google.rpc import error_details_pb2
from wire import MIB, PATIENCE_S, Code, code, ids, refusal, request, serving

LARGE = 20 * MIB


def test_a_message_above_the_limit_is_refused_and_the_limit_named(server):
    error = refusal(server.stub.Process, request("digest", os.urandom(LARGE)), timeout=PATIENCE_S)
    assert error.code() is Code.RESOURCE_EXHAUSTED, error.details()
    assert "max_message_size" in error.details()
    assert server.stub.Process(request("echo", b"next"), timeout=PATIENCE_S).result == b"next"


def test_a_message_above_the_limit_ends_its_stream_by_name(server):
    """It cannot be told apart from the next one without reading it, so the call ends; the connection does not."""
    others = server.stub.Stream(iter([request("echo", id=id, busy="50ms") for id in range(10)]), timeout=PATIENCE_S)
    error = refusal(server.stub.Stream, iter([request("digest", os.urandom(LARGE))]), timeout=PATIENCE_S)
    assert error.code() is Code.RESOURCE_EXHAUSTED, error.details()
    assert "max_message_size" in error.details()
    assert ids(others) == list(range(10))


def test_a_message_of_20_mib_works_where_it_is_allowed():
    payload = os.urandom(LARGE)
    with serving("--set", "server.max_message_size=32MiB") as server:
        digest = server.stub.Process(request("digest", payload, algorithm="sha256"), timeout=PATIENCE_S)
        assert digest.result == hashlib.sha256(payload).digest()
        [echo] = server.stub.Stream(iter([request("echo", payload)]), timeout=PATIENCE_S)
        assert echo.result == payload
        error = refusal(server.stub.Process, request("digest", payload * 2), timeout=PATIENCE_S)
        assert error.code() is Code.RESOURCE_EXHAUSTED, error.details()


def test_a_server_that_sheds_says_when_to_try_again_and_answers_everything_once():
    with serving(
        "--set", "when_full=shed", "--set", "worker_queue_capacity=8", "--set", "batch_size=1"
    ) as server:
        requests = [request("echo", id=id, busy="20ms") for id in range(200)]
        responses = list(server.stub.Stream(iter(requests), timeout=PATIENCE_S))
        assert ids(responses) == list(range(200))
        shed = [response.error for response in responses if code(response) is Code.RESOURCE_EXHAUSTED]
        assert shed and len(shed) + [code(response) for response in responses].count(Code.OK) == 200
        for error in shed:
            hint = error_details_pb2.RetryInfo()
            assert any(detail.Unpack(hint) for detail in error.details), error
            assert hint.retry_delay.ToNanoseconds() > 0
        assert server.stub.Process(request("echo", b"next"), timeout=PATIENCE_S).result == b"next"
