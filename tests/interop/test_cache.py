"""Equal messages are worked on once."""

import os
from concurrent.futures import ThreadPoolExecutor

from wire import MIB, PATIENCE_S, request


def process(server, *arguments, **keywords):
    return server.stub.Process(request(*arguments, **keywords), timeout=PATIENCE_S)


def test_the_second_of_two_equal_messages_comes_from_the_cache(server):
    payload = os.urandom(1000)
    first, second = (process(server, "digest", payload) for _ in range(2))
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert first.result == second.result


def test_messages_that_differ_in_a_parameter_are_not_equal(server):
    payload = os.urandom(1000)
    assert not process(server, "digest", payload, algorithm="sha256").cache_hit
    assert not process(server, "digest", payload, algorithm="blake3").cache_hit
    assert not process(server, "compress", payload).cache_hit


def test_no_cache_neither_looks_nor_stores(server):
    payload = os.urandom(1000)
    assert not process(server, "digest", payload, no_cache=True).cache_hit
    assert not process(server, "digest", payload).cache_hit, "not stored"
    assert not process(server, "digest", payload, no_cache=True).cache_hit, "not looked for"
    assert process(server, "digest", payload).cache_hit


def test_echo_is_never_cached(server):
    payload = os.urandom(1000)
    assert [process(server, "echo", payload).cache_hit for _ in range(2)] == [False, False]


def test_of_many_equal_messages_at_once_one_is_worked_on(fresh):
    """It takes long enough for all of them to arrive meanwhile; they come over several connections."""
    equals = 64
    message = request("compress", os.urandom(MIB) * 2, level="19")
    stubs = [fresh.connect() for _ in range(8)]
    with ThreadPoolExecutor(equals) as pool:
        calls = [pool.submit(stubs[n % 8].Process, message, timeout=PATIENCE_S) for n in range(equals)]
        responses = [call.result() for call in calls]
    assert len({response.result for response in responses}) == 1
    assert [response.cache_hit for response in responses].count(False) == 1
    stats = fresh.stats()
    assert (stats.cache_misses, stats.cache_hits) == (1, equals - 1)


def test_a_failure_is_not_cached_and_every_equal_message_gets_its_own(server):
    requests = [request("thumbnail", b"no picture at all", id=id, width="10", height="10") for id in range(20)]
    responses = list(server.stub.Stream(iter(requests), timeout=PATIENCE_S))
    assert [response.id for response in responses] == list(range(20))
    assert all(response.WhichOneof("outcome") == "error" and not response.cache_hit for response in responses)
