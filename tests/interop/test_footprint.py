"""What the server takes when it has nothing to do, and what it keeps of what it took."""

import time

import pytest
from wire import KIB, MIB, PATIENCE_S, request, ticks


def test_a_fresh_server_is_small(fresh):
    assert fresh.stub.Process(request("echo", b"up"), timeout=PATIENCE_S).result == b"up"
    resident = fresh.memory("VmRSS")
    assert resident <= 20 * MIB, f"{resident / MIB:.1f} MiB"


@pytest.mark.timeout(120)
def test_an_idle_server_takes_a_five_hundredth_of_a_core_at_most(fresh):
    """After some work: what is left over of it (timers, open connections) is part of being idle."""
    fresh.load("digest", rate=2000, seconds=1, streams=20, payload=4 * KIB)
    fresh.await_idle()
    shares = []
    # Where a hypervisor takes the core, that may count as the server's time, but hardly each time.
    while not shares or shares[-1] > 0.002 and len(shares) < 3:
        used, since = fresh.cpu_time(), time.monotonic()
        for _ in ticks(within=10):
            pass
        # The clock of /proc ticks every 10 ms, which is half of what is allowed.
        shares.append((fresh.cpu_time() - used) / (time.monotonic() - since))
    assert shares[-1] <= 0.002, f"{shares} of a core"


@pytest.mark.timeout(400)
def test_a_million_messages_leave_no_more_behind_than_ten_thousand(fresh):
    """Offered at about the rate that the server can take, so that lanes and windows fill now and then; not cached,
    for the cache is allowed to fill up."""
    resident = {}
    for messages, seconds in [(10_000, 0.25), (1_000_000, 25)]:
        report = fresh.load("digest", rate=messages / seconds, seconds=seconds, streams=16, payload=KIB)
        assert (report["sent"], report["answered_ok"], report["lost"]) == (messages, messages, 0)
        fresh.await_idle()
        resident[messages] = fresh.memory_at_rest()
    assert fresh.stats().answered_ok == 1_010_000
    assert resident[1_000_000] <= 1.1 * resident[10_000], resident
