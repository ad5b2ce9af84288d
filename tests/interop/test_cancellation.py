"""A client that goes takes its work with it."""

from millstream.v1.data_plane_pb2_grpc import DataPlaneStub
from wire import PATIENCE_S, Feed, request


def hours(messages):
    """Work that nobody could wait for."""
    return [request("echo", bytes(1000), id=id, busy="60s") for id in range(1, messages)]


def test_cancelling_a_stream_cancels_what_it_has_queued(server):
    """More than an hour of work for each worker, most of it queued when the client goes."""
    feed, workers = Feed(), server.stats().workers
    responses = server.stub.Stream(iter(feed), timeout=PATIENCE_S)
    feed.send(request("echo", id=0))
    assert next(responses).id == 0
    feed.send(*hours(100 * workers))
    server.await_stats(lambda stats: stats.queued >= 10 * workers)
    responses.cancel()
    feed.close()
    server.await_idle()


def test_cancelling_a_stream_stops_what_is_in_work(server):
    feed = Feed()
    responses = server.stub.Stream(iter(feed), timeout=PATIENCE_S)
    feed.send(*(request("echo", b"payload", id=id, busy="60s") for id in range(server.stats().workers)))
    server.await_stats(lambda stats: stats.bytes_in_flight > 0 and stats.queued == 0)
    responses.cancel()
    feed.close()
    server.await_idle()
    assert server.stub.Process(request("echo", b"next"), timeout=PATIENCE_S).result == b"next"


def test_cancelling_a_unary_call_stops_its_message(server):
    calls = [
        server.stub.Process.future(request("echo", b"payload", busy="60s"), timeout=PATIENCE_S)
        for _ in range(2 * server.stats().workers)
    ]
    server.await_stats(lambda stats: stats.bytes_in_flight >= len(calls) * len(b"payload"))
    for call in calls:
        call.cancel()
    server.await_idle()
    assert server.stub.Process(request("echo", b"next"), timeout=PATIENCE_S).result == b"next"


def test_closing_a_connection_cancels_all_its_streams(server):
    channel = server.channel()
    stub = DataPlaneStub(channel)
    feeds = [Feed() for _ in range(5)]
    streams = [stub.Stream(iter(feed), timeout=PATIENCE_S) for feed in feeds]
    for feed in feeds:
        feed.send(request("echo", id=0))
    assert [next(stream).id for stream in streams] == [0] * 5
    for feed in feeds:
        feed.send(*hours(100))
    server.await_stats(lambda stats: stats.queued >= 100)
    channel.close()
    server.await_idle()
    for feed in feeds:
        feed.close()
