"""The statistics say what happened, and their histograms are what other HdrHistograms read."""

import base64
import os

import pytest
from hdrh.histogram import HdrHistogram
from millstream.v1 import data_plane_pb2 as pb
from wire import MIB, PATIENCE_S, Code, duration, refusal, request, serving


def histograms(stats):
    # `class` is a keyword of Python's.
    return {(histogram.stage, getattr(histogram, "class")): histogram for histogram in stats.histograms}


def test_the_counters_count(fresh):
    payloads = [os.urandom(100) for _ in range(20)]
    requests = [request("digest", payload) for payload in [*payloads, *payloads[:5]]]
    for message in requests:
        fresh.stub.Process(message, timeout=PATIENCE_S)
    refusal(fresh.stub.Process, request("digest", algorithm="md5"))
    refusal(fresh.stub.Process, request("transmogrify"))
    refusal(fresh.stub.Process, request("echo", timeout=0.01, busy="1s"))

    stats = fresh.await_stats(lambda stats: sum(stats.errors.values()) == 3)
    assert stats.answered_ok == 25
    assert dict(stats.errors) == {"INVALID_ARGUMENT": 1, "UNIMPLEMENTED": 1, "DEADLINE_EXCEEDED": 1}
    assert 26 <= stats.accepted <= 28, "what cannot be right may be refused before it is accepted"
    assert (stats.cache_hits, stats.cache_entries) == (5, 20)
    assert stats.cache_misses >= 20
    assert stats.cache_bytes >= 20 * 32
    assert stats.workers >= 1
    assert 0 <= stats.worker_utilization <= 1
    assert stats.uptime.ToTimedelta().total_seconds() > 0
    assert abs(stats.resident_bytes - fresh.memory("VmRSS")) < 4 * MIB


def test_the_gauges_show_what_is_going_on_now(tmp_path):
    # What is long keeps its worker, so that the others wait.
    config = tmp_path / "server.toml"
    config.write_text("enable_length_scheduling = false\n")
    with serving("--config", str(config)) as server:
        workers = server.stats().workers
        waiting = 3
        calls = [
            server.stub.Process.future(request("echo", bytes(1000), busy="60s"), timeout=PATIENCE_S)
            for _ in range(workers + waiting)
        ]
        stats = server.await_stats(lambda stats: stats.queued == waiting)
        assert stats.bytes_in_flight >= (workers + waiting) * 1000
        for call in calls:
            call.cancel()
        server.await_idle()


def test_the_histograms_decode_and_agree_with_their_percentiles(fresh):
    busy = [1, 2, 3, 5, 8, 13, 21] * 20
    requests = [request("echo", busy=f"{each}ms") for each in busy]
    assert len(list(fresh.stub.Stream(iter(requests), timeout=PATIENCE_S))) == len(busy)

    found = histograms(fresh.await_stats(lambda stats: stats.answered_ok == len(busy)))
    for stage in ["queue_wait", "service_time", "sojourn_time"]:
        said = found[stage, "echo"]
        assert said.count == len(busy)
        assert said.p50_ns <= said.p90_ns <= said.p95_ns <= said.p99_ns <= said.p999_ns <= said.max_ns
        # The package reads the Base64 of log files only.
        read = HdrHistogram.decode(base64.b64encode(said.hdr_v2_compressed))
        assert read.get_total_count() == len(busy)
        assert read.get_value_at_percentile(50) == pytest.approx(said.p50_ns, rel=0.01)
        assert read.get_value_at_percentile(99) == pytest.approx(said.p99_ns, rel=0.01)
        assert read.get_max_value() == pytest.approx(said.max_ns, rel=0.01)
    assert found["service_time", "echo"].p50_ns >= 5_000_000
    assert found["service_time", "echo"].max_ns >= 21_000_000
    assert found["sojourn_time", "echo"].max_ns >= found["queue_wait", "echo"].max_ns


def test_watching_gives_fresh_statistics_again_and_again(server):
    watch = server.stub.WatchStats(pb.WatchStatsRequest(interval=duration(0.05)), timeout=PATIENCE_S)
    before = next(watch)
    server.stub.Process(request("echo"), timeout=PATIENCE_S)
    uptimes = [before.uptime.ToNanoseconds()]
    for stats in watch:
        uptimes.append(stats.uptime.ToNanoseconds())
        if stats.answered_ok == before.answered_ok + 1 and len(uptimes) >= 4:
            break
    watch.cancel()
    assert uptimes == sorted(set(uptimes))
    assert (uptimes[-1] - uptimes[0]) / (len(uptimes) - 1) >= 0.04e9, "no more often than asked for"


def test_watching_more_often_than_every_10_ms_is_an_invalid_argument(server):
    for interval in [0.001, 0, -1]:
        error = refusal(server.stub.WatchStats, pb.WatchStatsRequest(interval=duration(interval)), timeout=PATIENCE_S)
        assert error.code() is Code.INVALID_ARGUMENT
        assert "10" in error.details()
