"""Too late: answered at the deadline, whatever the handler does, and not worked on any further."""

import time

import grpc
import pytest
from wire import COMPLETION_ORDER, PATIENCE_S, Code, code, ids, refusal, request, serving


@pytest.fixture
def hasty():
    """Does not wait for handlers that run on when it ends."""
    with serving("--set", "server.drain_timeout=1s") as server:
        yield server


def test_a_message_is_answered_at_its_deadline_though_its_handler_runs_on(hasty):
    requests = [
        request("echo", b"late", id=1, timeout=0.1, busy="60s", stubborn="true"),
        request("echo", b"in time", id=2),
    ]
    begin = time.monotonic()
    late, in_time = hasty.stub.Stream(iter(requests), timeout=PATIENCE_S)
    elapsed = time.monotonic() - begin
    assert (late.id, code(late)) == (1, Code.DEADLINE_EXCEEDED)
    assert (in_time.id, code(in_time), in_time.result) == (2, Code.OK, b"in time")
    assert elapsed >= 0.1


def test_a_unary_message_has_a_deadline_of_its_own(hasty):
    """The call has none, so it is the server that answers."""
    begin = time.monotonic()
    error = refusal(hasty.stub.Process, request("echo", timeout=0.1, busy="60s", stubborn="true"))
    elapsed = time.monotonic() - begin
    assert error.code() is Code.DEADLINE_EXCEEDED
    assert 0.1 <= elapsed < PATIENCE_S


def test_messages_that_wait_are_answered_at_their_deadline_and_never_started(fresh):
    """A hundred seconds of work for each worker, of which it has begun one when the deadline comes."""
    requests = [
        request("echo", id=id, timeout=0.2, busy="1s", stubborn="true") for id in range(100 * fresh.stats().workers)
    ]
    begin = time.monotonic()
    responses = list(fresh.stub.Stream(iter(requests), metadata=COMPLETION_ORDER, timeout=PATIENCE_S))
    elapsed = time.monotonic() - begin
    assert sorted(ids(responses)) == list(range(len(requests)))
    assert {code(response) for response in responses} == {Code.DEADLINE_EXCEEDED}
    assert elapsed >= 0.2
    # Queues behind the one that each worker has begun, and behind nothing else.
    assert fresh.stub.Process(request("echo", b"next"), timeout=PATIENCE_S).result == b"next"


def test_the_deadline_of_the_call_holds_for_its_messages(fresh):
    """The sooner of the two; what is in work is given up at its next checkpoint."""
    workers = fresh.stats().workers
    long = [request("echo", id=id, timeout=30, busy="30s") for id in range(2 * workers)]
    # Either side may be the first to see that the time is up: the client ends the call, or the server answers it.
    try:
        codes = [code(response) for response in fresh.stub.Stream(iter(long), timeout=0.3)]
        assert codes == [Code.DEADLINE_EXCEEDED] * len(long)
    except grpc.RpcError as error:
        assert error.code() is Code.DEADLINE_EXCEEDED
    assert refusal(fresh.stub.Process, long[0], timeout=0.3).code() is Code.DEADLINE_EXCEEDED
    fresh.await_idle()
    assert fresh.stub.Process(request("echo", b"next"), timeout=PATIENCE_S).result == b"next"
