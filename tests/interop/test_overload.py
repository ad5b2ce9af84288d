"""More than the server can do: it says so at once and when to come again, and stock clients do as they are told."""

import json
import threading
import time

import pytest
from millstream.v1 import data_plane_pb2 as pb
from wire import PATIENCE_S, Code, refusal, request, serving

PUSHBACK = "grpc-retry-pushback-ms"

# What a service config usually says of retries.
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "millstream.v1.DataPlane"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "UNAVAILABLE"],
            },
        }
    ]
}


def retrying(server):
    """A stub that tries again as a stock client does."""
    return server.connect(("grpc.enable_retries", 1), ("grpc.service_config", json.dumps(RETRIES)))


def learn(server, busy, times=8):
    """Lets the server learn how long such a message takes."""
    for _ in range(times):
        server.stub.Process(request("echo", busy=busy, no_cache=True), timeout=PATIENCE_S)


def keep_workers(server):
    """Calls that keep every worker of a server that has nothing else to do, until they are cancelled. What is long must keep
    its worker there."""
    accepted = server.stats().accepted
    workers = server.stats().workers
    keepers = [server.stub.Process.future(request("echo", busy="60s")) for _ in range(workers)]
    server.await_stats(lambda stats: stats.accepted == accepted + workers and stats.queued == 0)
    return keepers


def test_a_call_that_would_be_late_is_refused_at_once_and_told_when_to_come_again():
    with serving("--set", "enable_length_scheduling=false") as server:
        learn(server, "100ms")
        keepers = keep_workers(server)
        # Some two seconds of work for each worker, of which none is begun before all was seen.
        call = lambda id: server.stub.Process.future(request("echo", id=id, busy="100ms"), timeout=2 * PATIENCE_S)
        backlog = [call(id) for id in range(20 * len(keepers))]
        server.await_stats(lambda stats: stats.queued == len(backlog))
        error = refusal(server.stub.Process, request("echo", busy="100ms", timeout=0.3))
        assert server.stats().would_be_late == 1, "it was not begun, nor queued until it was late"
        assert error.code() is Code.RESOURCE_EXHAUSTED
        # Trailers-Only: the metadata has come with the status.
        assert PUSHBACK not in dict(error.initial_metadata() or ())
        assert int(dict(error.trailing_metadata())[PUSHBACK]) >= 100
        # On a stream it is the outcome of that message, and of no other.
        late, fine = request("echo", id=1, busy="100ms", timeout=0.3), request("echo", b"fine", id=2)
        responses = server.stub.Stream(iter([late, fine]), timeout=PATIENCE_S)
        first = next(responses)
        assert first.error.code == Code.RESOURCE_EXHAUSTED.value[0]
        assert {detail.type_url.rpartition(".")[2] for detail in first.error.details} == {"RetryInfo", "ErrorInfo"}
        assert server.stats().would_be_late == 2
        for keeper in keepers:
            keeper.cancel()
        [second] = responses
        assert second.result == b"fine"
        assert all(answer.result().WhichOneof("outcome") == "result" for answer in backlog)


def test_a_stock_client_comes_again_when_it_was_told_to_and_is_served():
    # A hundredth of its time may be spent waiting, so that a machine with other things to do can be slow and still in time;
    # and what is long keeps its worker, so that nothing that waits is begun before the refusal was seen.
    with serving("--set", "deadline_wait_share=0.01", "--set", "enable_length_scheduling=false") as server:
        stub = retrying(server)
        learn(server, "100ms")
        keepers = keep_workers(server)
        # They have no deadline of their own.
        backlog = [server.stub.Process.future(request("echo", id=id, busy="100ms")) for id in range(5 * len(keepers))]
        server.await_stats(lambda stats: stats.queued == len(backlog))
        accepted = server.stats().accepted
        # Half a second and more to wait: it is refused, and comes again when that is over, or once more.
        again = stub.Process.future(request("echo", b"again"), timeout=40)
        server.await_stats(lambda stats: stats.would_be_late == 1)
        for keeper in keepers:
            keeper.cancel()
        assert again.result().result == b"again"
        assert accepted + 2 <= server.stats().accepted <= accepted + RETRIES["methodConfig"][0]["retryPolicy"]["maxAttempts"]
        for answer in backlog:
            answer.result()


def at_twice_the_capacity():
    """How many calls a stock client has made at twice the capacity, how often it has tried, how many calls were served, and
    how many attempts refused."""
    # So many calls that those before it shows that most are refused count little.
    busy_s, deadline_s, seconds = 0.01, 0.05, 5
    with serving() as server:
        learn(server, "10ms", times=32)
        stub = retrying(server)
        rate = 2 * server.stats().workers / busy_s
        before = server.stats()
        calls, never, begin = [], threading.Event(), time.monotonic()
        for number in range(int(rate * seconds)):
            never.wait(max(0.0, begin + number / rate - time.monotonic()))
            message = request("echo", id=number, busy="10ms", no_cache=True)
            calls.append(stub.Process.future(message, timeout=deadline_s))
        codes = [call.code() for call in calls]
        after = server.stats()
        assert pb.OverloadLevel.Name(after.overload_level) != "OVERLOAD_LEVEL_UNSPECIFIED"
        return (
            len(calls),
            after.accepted - before.accepted,
            codes.count(Code.OK),
            after.would_be_late - before.would_be_late,
        )


@pytest.mark.timeout(120)
def test_stock_clients_with_retries_add_hardly_anything_to_an_overload():
    """Half of the calls are refused; what they are told keeps them from trying in vain."""
    seen = []
    # Where others take the cores, the capacity is not what was reckoned with, but hardly each time.
    for _ in range(3):
        calls, attempts, served, refused = at_twice_the_capacity()
        seen.append(f"{calls} calls, {attempts} attempts, {served} served, {refused} refused")
        print(seen[-1])
        if refused > calls / 10 and served > calls / 5 and attempts <= 1.1 * calls:
            return
    raise AssertionError(seen)
