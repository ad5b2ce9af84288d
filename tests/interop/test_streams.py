"""Many messages on one call, and many calls at once: each message answered once, in the order that was asked for."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.rpc import code_pb2
from wire import COMPLETION_ORDER, PATIENCE_S, REQUEST_ORDER, Code, Feed, code, ids, refusal, request, serving


def stream(server, requests, metadata=(), timeout=PATIENCE_S):
    return list(server.stub.Stream(iter(requests), metadata=metadata, timeout=timeout))


@pytest.mark.parametrize("metadata", [(), REQUEST_ORDER], ids=["by default", "on request"])
def test_answers_come_in_request_order_however_long_each_takes(server, metadata):
    requests = [request("echo", b"%d" % id, id=id, busy=f"{id * 7 % 30}ms") for id in range(50)]
    responses = stream(server, requests, metadata)
    assert ids(responses) == list(range(50))
    assert [response.result for response in responses] == [b"%d" % id for id in range(50)]


def test_in_completion_order_short_messages_overtake_a_long_one(server):
    requests = [request("echo", id=0, busy="60s"), *(request("echo", id=id) for id in range(1, 21))]
    responses = server.stub.Stream(iter(requests), metadata=COMPLETION_ORDER, timeout=PATIENCE_S)
    answered = [next(responses).id for _ in range(20)]
    assert sorted(answered) == list(range(1, 21)), "each once, while the long one runs"
    responses.cancel()
    server.await_idle()


def test_an_order_that_does_not_exist_is_an_invalid_argument(server):
    error = refusal(server.stub.Stream, iter([request("echo")]), metadata=(("millstream-order", "random"),))
    assert error.code() is Code.INVALID_ARGUMENT
    for word in ["millstream-order", "random", "request", "completion"]:
        assert word in error.details()


def test_a_message_that_fails_is_answered_with_its_error_and_the_stream_lives_on(server):
    requests = [
        request("echo", b"before", id=1),
        request("transmogrify", id=2),
        request("thumbnail", b"this is no picture", id=3, width="10", height="10"),
        request("digest", id=4, algorithm="md5"),
        request("echo", b"after", id=5),
    ]
    responses = stream(server, requests)
    assert ids(responses) == [1, 2, 3, 4, 5]
    assert [code(response) for response in responses] == [
        Code.OK,
        Code.UNIMPLEMENTED,
        Code.INVALID_ARGUMENT,
        Code.INVALID_ARGUMENT,
        Code.OK,
    ]
    assert responses[-1].result == b"after"
    assert responses[1].error.code == code_pb2.UNIMPLEMENTED
    assert "transmogrify" in responses[1].error.message


def test_a_stream_without_messages_ends_well(server):
    assert stream(server, []) == []


def test_ids_are_the_clients_own(server):
    chosen = [7, 7, 0, 2**64 - 1, 7]
    assert ids(stream(server, [request("echo", id=id) for id in chosen])) == chosen


def test_an_answer_does_not_wait_for_the_next_message(server):
    feed = Feed()
    responses = server.stub.Stream(iter(feed), timeout=PATIENCE_S)
    for id in range(100):
        feed.send(request("digest", b"%d" % id, id=id))
        assert next(responses).id == id
    feed.close()
    assert list(responses) == []


def test_an_answer_says_where_its_time_went():
    busy = 0.02
    # What is long keeps its worker, so that the others wait for it.
    with serving("--set", "enable_length_scheduling=false") as server:
        workers = server.stats().workers
        keepers = [server.stub.Process.future(request("echo", busy="60s")) for _ in range(workers)]
        server.await_stats(lambda stats: stats.accepted == workers and stats.queued == 0)
        requests = [request("echo", id=id, busy="20ms") for id in range(4 * workers)]
        responses = server.stub.Stream(iter(requests), timeout=PATIENCE_S)
        server.await_stats(lambda stats: stats.queued == len(requests))
        queued = time.monotonic()
        server.await_stats(lambda stats: time.monotonic() >= queued + busy)
        waited = time.monotonic() - queued
        for keeper in keepers:
            keeper.cancel()
        for response in responses:
            wait, service = (
                part.ToTimedelta().total_seconds()
                for part in (response.timing.queue_wait, response.timing.service_time)
            )
            assert service >= busy
            assert wait >= waited - 1e-6, "it was queued for longer than we looked on"


def test_a_hundred_streams_at_once_and_no_more(server):
    """As many as `max_concurrent_connections` admits by default."""
    streams, messages = 100, 50
    stub = server.connect()
    server.await_idle()
    observed = {}

    def look():
        observed["open"] = server.stats().open_streams
        observed["refused"] = refusal(server.stub.Stream, iter([request("echo")]), timeout=PATIENCE_S)

    everybody_is_here = threading.Barrier(streams, action=look, timeout=PATIENCE_S)

    def talk(number):
        feed = Feed()
        responses = stub.Stream(iter(feed), timeout=2 * PATIENCE_S)
        feed.send(request("echo", b"%d" % number, id=0))
        first = next(responses)
        everybody_is_here.wait()
        feed.send(*(request("digest", b"%d %d" % (number, id), id=id) for id in range(1, messages)))
        feed.close()
        return [first, *responses]

    with ThreadPoolExecutor(streams) as pool:
        conversations = list(pool.map(talk, range(streams)))

    assert observed["open"] == streams
    assert observed["refused"].code() is Code.RESOURCE_EXHAUSTED
    assert "max_concurrent_connections" in observed["refused"].details()
    for number, responses in enumerate(conversations):
        assert ids(responses) == list(range(messages))
        assert all(code(response) is Code.OK for response in responses)
        assert responses[0].result == b"%d" % number
    server.await_idle()
    assert ids(stream(server, [request("echo", id=1)])) == [1], "there is room again"
