"""Many small messages, sent as fast as flow control lets them, to a server that is slow to take them.

Each small DATA frame that waits to be read is charged, by recent HTTP/2 servers, against a budget for the whole
connection (a defence against floods of tiny frames); a server that just stops reading is made to kill its connection
by a client that does nothing wrong. Python's client sends just so.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from wire import KIB, MIB, Code, code, ids, request

STREAM_WINDOW = 64 * KIB
# What HTTP/2 takes to hold a small frame that is unread, beside its bytes, and what gRPC puts before each message.
HELD_FRAME, PREFIX = 264, 5
# What is accepted (at most the thousand messages that the lanes hold), answers on their way, and what the allocator
# rounds up and leaves unused.
BESIDE = 8 * MIB


def may_grow_by(streams, messages, message):
    """What the server may grow by at most while it is slow: all that its windows hold is unread, one frame for each
    message. Measured: 2.3 MiB for 20,000 messages on one stream, of which 700 fit its window; 18.4 MiB for 50,000 of
    64 bytes on a hundred streams, which all fit."""
    unread = min(messages, STREAM_WINDOW // (PREFIX + message.ByteSize()))
    return streams * unread * (HELD_FRAME + PREFIX + message.ByteSize()) + BESIDE


def exchange(server, streams, messages, payload, busy, timeout):
    """All the messages on all the streams of one connection; fails unless each is answered once, and in order."""
    stub = server.connect()

    def talk(number):
        content = (b"%d " % number).ljust(payload)[:payload]
        requests = (request("echo", content, id=id, busy=busy) for id in range(messages))
        responses = list(stub.Stream(requests, timeout=timeout))
        assert ids(responses) == list(range(messages))
        assert all(code(response) is Code.OK and response.result == content for response in responses)

    with ThreadPoolExecutor(streams) as pool:
        for finished in [pool.submit(talk, number) for number in range(streams)]:
            finished.result()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "streams, messages, payload, busy",
    [
        pytest.param(1, 20_000, 64, "5ms", id="20000 of 64 bytes on one stream"),
        pytest.param(100, 500, 64, "5ms", id="500 of 64 bytes on each of 100 streams"),
        # The smaller the frames, the dearer: nothing but the operation and its parameter.
        pytest.param(100, 500, 0, "1ms", id="500 empty ones on each of 100 streams"),
    ],
)
def test_small_messages_to_a_slow_server_are_all_answered_in_bounded_memory(fresh, streams, messages, payload, busy):
    exchange(fresh, streams, 10, payload, "0ms", timeout=60)
    before = fresh.memory("VmHWM")
    exchange(fresh, streams, messages, payload, busy, timeout=500)
    grown = fresh.memory("VmHWM") - before
    allowed = may_grow_by(streams, messages, request("echo", bytes(payload), id=messages, busy=busy))
    assert grown <= allowed, f"{grown / MIB:.1f} MiB, {allowed / MIB:.1f} MiB allowed"
    fresh.await_idle()


def test_a_flood_is_no_reason_to_refuse_what_can_be_done_in_time(fresh):
    """While the server takes thousands of messages in, workers hardly get a core. What that makes of a message must not be
    expected of the next: there are seconds of work here, and a minute for it."""
    exchange(fresh, 100, 10, 64, "0ms", timeout=60)
    exchange(fresh, 100, 20, 64, "5ms", timeout=60)
    assert fresh.stats().would_be_late == 0


def test_a_client_that_does_not_read_is_waited_for_and_nobody_else_is(server):
    """Its answers fill the windows, its messages pile up, and it still gets everything once it reads."""
    slow_stub, payload = server.connect(), bytes(10_000)
    requests = [request("echo", payload, id=id) for id in range(2000)]
    slow = slow_stub.Stream(iter(requests), timeout=50)
    assert next(slow).id == 0
    exchange(server, 10, 50, 64, "0ms", timeout=20)
    assert ids(slow) == list(range(1, 2000))
