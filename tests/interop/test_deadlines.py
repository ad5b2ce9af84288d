"""Too late: answered at the deadline, whatever the handler does, and not worked on any further."""

import time

import grpc
from wire import COMPLETION_ORDER, PATIENCE_S, Code, code, ids, refusal, request

# What an answer at a deadline of 0.1 or 0.2 s may take: the handlers would take seconds.
SOON_S = 0.8


def test_a_message_is_answered_at_its_deadline_though_its_handler_runs_on(fresh):
    requests = [
        request("echo", b"late", id=1, timeout=0.1, busy="2s", stubborn="true"),
        request("echo", b"in time", id=2),
    ]
    begin = time.monotonic()
    late, in_time = fresh.stub.Stream(iter(requests), timeout=PATIENCE_S)
    elapsed = time.monotonic() - begin
    assert (late.id, code(late)) == (1, Code.DEADLINE_EXCEEDED)
    assert (in_time.id, code(in_time), in_time.result) == (2, Code.OK, b"in time")
    assert 0.1 <= elapsed < SOON_S


def test_a_unary_message_has_a_deadline_of_its_own(fresh):
    """The call has none, so it is the server that answers."""
    begin = time.monotonic()
    error = refusal(fresh.stub.Process, request("echo", timeout=0.1, busy="2s", stubborn="true"))
    elapsed = time.monotonic() - begin
    assert error.code() is Code.DEADLINE_EXCEEDED
    assert 0.1 <= elapsed < SOON_S


def test_messages_that_wait_are_answered_at_their_deadline_and_never_started(fresh):
    """Ten seconds of work for each worker, of which it has begun one when the deadline comes."""
    requests = [
        request("echo", id=id, timeout=0.2, busy="1s", stubborn="true") for id in range(10 * fresh.stats().workers)
    ]
    begin = time.monotonic()
    responses = list(fresh.stub.Stream(iter(requests), metadata=COMPLETION_ORDER, timeout=PATIENCE_S))
    elapsed = time.monotonic() - begin
    assert sorted(ids(responses)) == list(range(len(requests)))
    assert {code(response) for response in responses} == {Code.DEADLINE_EXCEEDED}
    assert 0.2 <= elapsed < SOON_S
    # Queues behind the one that each worker has begun, and behind nothing else.
    assert fresh.stub.Process(request("echo", b"next"), timeout=3).result == b"next"


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
    fresh.await_idle(within=1)
    assert fresh.stub.Process(request("echo", b"next"), timeout=1).result == b"next"
