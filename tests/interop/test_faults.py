"""A panic costs its own message, and nobody else anything."""

import pytest
from wire import PATIENCE_S, Code, code, ids, refusal, request

PANIC = {"panic": "true"}


def test_a_panic_on_a_stream_is_an_internal_error_and_the_next_message_works(fragile):
    requests = [request("echo", b"1", id=1), request("echo", b"2", id=2, **PANIC), request("echo", b"3", id=3)]
    first, second, third = fragile.stub.Stream(iter(requests), timeout=PATIENCE_S)
    assert (first.id, first.result) == (1, b"1")
    assert (second.id, code(second)) == (2, Code.INTERNAL)
    assert (third.id, third.result) == (3, b"3")


def test_a_panic_in_a_unary_call_is_an_internal_error_and_the_next_call_works(fragile):
    assert refusal(fragile.stub.Process, request("echo", **PANIC), timeout=PATIENCE_S).code() is Code.INTERNAL
    assert fragile.stub.Process(request("echo", b"next"), timeout=PATIENCE_S).result == b"next"


def test_a_thousand_panics_among_other_messages_cost_no_worker(fragile):
    before = fragile.stats().workers
    requests = [request("echo", b"%d" % id, id=id, **(PANIC if id % 2 else {})) for id in range(2000)]
    responses = list(fragile.stub.Stream(iter(requests), timeout=2 * PATIENCE_S))
    assert ids(responses) == list(range(2000))
    assert all(code(each) is (Code.INTERNAL if each.id % 2 else Code.OK) for each in responses)
    assert fragile.stats().workers == before


@pytest.mark.parametrize("call", ["stream", "unary"])
def test_a_panic_is_refused_unless_the_server_was_started_for_it(server, call):
    message = request("echo", **PANIC)
    if call == "stream":
        [response] = server.stub.Stream(iter([message]), timeout=PATIENCE_S)
        refused, why = code(response), response.error.message
    else:
        error = refusal(server.stub.Process, message, timeout=PATIENCE_S)
        refused, why = error.code(), error.details()
    assert refused in (Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
    assert "--allow-fault-injection" in why
