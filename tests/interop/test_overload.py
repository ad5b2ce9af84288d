"""More than the server can do: it says so at once and when to come again, and stock clients do as they are told."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

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


def test_a_call_that_would_be_late_is_refused_at_once_and_told_when_to_come_again(fresh):
    workers = fresh.stats().workers
    learn(fresh, "100ms")
    # Some two seconds of work for each worker: a busy machine may take its time until the next call comes.
    with ThreadPoolExecutor(20 * workers) as pool:
        call = lambda id: fresh.stub.Process(request("echo", id=id, busy="100ms"), timeout=PATIENCE_S)
        backlog = [pool.submit(call, id) for id in range(20 * workers)]
        fresh.await_stats(lambda stats: stats.queued >= 19 * workers)
        error = refusal(fresh.stub.Process, request("echo", busy="100ms", timeout=0.3))
        assert fresh.stats().would_be_late == 1, "it was not begun, nor queued until it was late"
        assert error.code() is Code.RESOURCE_EXHAUSTED
        # Trailers-Only: the metadata has come with the status.
        assert PUSHBACK not in dict(error.initial_metadata() or ())
        assert int(dict(error.trailing_metadata())[PUSHBACK]) >= 100
        # On a stream it is the outcome of that message, and of no other.
        late, fine = request("echo", id=1, busy="100ms", timeout=0.3), request("echo", b"fine", id=2)
        first, second = fresh.stub.Stream(iter([late, fine]), timeout=PATIENCE_S)
        assert first.error.code == Code.RESOURCE_EXHAUSTED.value[0]
        assert {detail.type_url.rpartition(".")[2] for detail in first.error.details} == {"RetryInfo", "ErrorInfo"}
        assert second.result == b"fine"
        assert all(answer.result().WhichOneof("outcome") == "result" for answer in backlog)
    assert fresh.stats().would_be_late == 2


def test_a_stock_client_comes_again_when_it_was_told_to_and_is_served():
    # A hundredth of its time may be spent waiting, so that a machine with other things to do can be slow and still in time.
    with serving("--set", "deadline_wait_share=0.01") as server:
        workers = server.stats().workers
        stub = retrying(server)
        learn(server, "100ms")
        with ThreadPoolExecutor(6 * workers) as pool:
            # Of whose time a hundredth is enough to wait for all the others.
            patient = lambda id: server.stub.Process(request("echo", id=id, busy="100ms"), timeout=60 * PATIENCE_S)
            backlog = [pool.submit(patient, id) for id in range(6 * workers)]
            server.await_stats(lambda stats: stats.queued >= 5 * workers)
            accepted = server.stats().accepted
            # Half a second and more to wait: it is refused, and comes again when that is over, or once more.
            assert stub.Process(request("echo", b"again"), timeout=40).result == b"again"
            assert accepted + 2 <= server.stats().accepted <= accepted + RETRIES["methodConfig"][0]["retryPolicy"]["maxAttempts"]
            for answer in backlog:
                answer.result()


def test_stock_clients_with_retries_add_hardly_anything_to_an_overload(fresh):
    """At twice the capacity half of the calls are refused; what they are told keeps them from trying in vain."""
    # So many calls that those before it shows that most are refused count little.
    busy_s, deadline_s, seconds = 0.01, 0.05, 5
    learn(fresh, "10ms", times=32)
    stub = retrying(fresh)
    workers = fresh.stats().workers
    rate = 2 * workers / busy_s
    before = fresh.stats()
    calls, never, begin = [], threading.Event(), time.monotonic()
    for number in range(int(rate * seconds)):
        never.wait(max(0.0, begin + number / rate - time.monotonic()))
        message = request("echo", id=number, busy="10ms", no_cache=True)
        calls.append(stub.Process.future(message, timeout=deadline_s))
    codes = [call.code() for call in calls]
    after = fresh.stats()
    attempts = after.accepted - before.accepted
    served = codes.count(Code.OK)
    print(f"{len(calls)} calls, {attempts} attempts, {served} served, {after.would_be_late - before.would_be_late} refused")
    assert after.would_be_late - before.would_be_late > len(calls) / 10, "it was no overload"
    assert served > len(calls) / 5
    assert attempts <= 1.1 * len(calls)
    assert pb.OverloadLevel.Name(after.overload_level) != "OVERLOAD_LEVEL_UNSPECIFIED"
