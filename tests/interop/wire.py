"""A server of one's own, and the client's side of `millstream.v1.DataPlane`.

Nothing in this suite sleeps: a test waits for an answer, for a barrier, or for statistics (`Server.await_stats`), each
with a deadline; what a server does when it is left alone is looked at again and again (`ticks`).
"""

import json
import os
import queue
import re
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from millstream.v1 import data_plane_pb2 as pb
from millstream.v1.data_plane_pb2_grpc import DataPlaneStub

Code = grpc.StatusCode
CODES = {code.value[0]: code for code in Code}

COMPLETION_ORDER = (("millstream-order", "completion"),)
REQUEST_ORDER = (("millstream-order", "request"),)

# Long enough for a busy machine, short enough for a person who waits: what is not there by then does not come.
PATIENCE_S = 20

KIB = 1024
MIB = 1024 * KIB


def duration(seconds):
    """`seconds` as the wire has it."""
    message = Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message


def request(operation, payload=b"", *, id=0, timeout=None, no_cache=False, **parameters):
    """A message; further keywords are the operation's parameters."""
    return pb.StreamRequest(
        id=id,
        operation=operation,
        payload=payload,
        parameters=parameters,
        timeout=None if timeout is None else duration(timeout),
        no_cache=no_cache,
    )


def code(response):
    """The outcome of a message on a stream as a status code."""
    return CODES[response.error.code] if response.WhichOneof("outcome") == "error" else Code.OK


def ids(responses):
    """Which messages were answered, in order."""
    return [response.id for response in responses]


def refusal(call, *arguments, **options):
    """The error that the call ends with."""
    with pytest.raises(grpc.RpcError) as failure:
        response = call(*arguments, **options)
        if isinstance(response, grpc.Call):  # A stream fails when it is read.
            list(response)
    return failure.value


def ticks(within):
    """Comes round every 50 ms, for so many seconds."""
    never, deadline = threading.Event(), time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        never.wait(min(left, 0.05))
        yield


class Feed:
    """The sending half of a stream, message by message, for tests that send when they have seen something."""

    def __init__(self):
        self._queue = queue.SimpleQueue()

    def send(self, *requests):
        for message in requests:
            self._queue.put(message)

    def close(self):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


class Server:
    """A `millstream serve` on a port that it picks itself."""

    def __init__(self, *flags):
        # The environment configures the server, and the one that runs the tests is not to.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MILLSTREAM_")}
        command = [os.environ["INTEROP_BINARY"], "serve", "--listen", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._channels = []
        try:
            self.address = self._await_address()
            self.stub = self.connect()
        except BaseException:
            self.process.kill()
            raise

    def _await_address(self):
        lines = queue.SimpleQueue()

        # Reads on after the line that matters, so that the server never waits for a reader.
        def read():
            for line in self.process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        while line := lines.get(timeout=PATIENCE_S):
            if found := re.fullmatch(r"listening on (\S+)\n", line):
                return found[1]
        raise AssertionError(f"the server ended ({self.process.wait(PATIENCE_S)}) before it listened")

    def connect(self, *options):
        """A stub on a connection of its own."""
        return DataPlaneStub(self.channel(*options))

    def channel(self, *further):
        """A connection of its own, which sets no limits: the server's are under test."""
        options = [
            *further,
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        channel = grpc.insecure_channel(self.address, options=options)
        self._channels.append(channel)
        return channel

    def stats(self):
        return self.stub.GetStats(pb.GetStatsRequest(), timeout=PATIENCE_S)

    def await_stats(self, condition, within=PATIENCE_S):
        """The first statistics for which `condition` holds, watched every 10 ms for up to `within` seconds."""
        seen = None
        watch = self.stub.WatchStats(pb.WatchStatsRequest(interval=duration(0.01)), timeout=within)
        try:
            for seen in watch:
                if condition(seen):
                    return seen
        except grpc.RpcError as error:
            if error.code() is not Code.DEADLINE_EXCEEDED:
                raise
        finally:
            watch.cancel()
        if seen is not None:
            seen.ClearField("histograms")
        raise AssertionError(f"not within {within} s; the last statistics were:\n{seen}")

    def await_idle(self, within=PATIENCE_S):
        """Waits until no stream is open, and no message is queued or in work."""
        return self.await_stats(
            lambda stats: not (stats.open_streams or stats.queued or stats.bytes_in_flight), within
        )

    def memory(self, field):
        """`VmRSS` (now) or `VmHWM` (the most so far) of the server, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith(f"{field}:"))
        return int(line.split()[1]) * KIB

    def memory_at_rest(self):
        """The least that is resident within four seconds: the server, left alone, gives back what a burst has left
        behind within two."""
        least = self.memory("VmRSS")
        for _ in ticks(within=4):
            least = min(least, self.memory("VmRSS"))
        return least

    def cpu_time(self):
        """Seconds of CPU time that the server has used, in user mode and in the kernel."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            # The name of the command, in parentheses, may hold anything; utime and stime are the 14th and 15th field.
            fields = stat.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def load(self, operation, *, rate, seconds, streams, payload):
        """The report of `millstream load`, evenly paced and without the cache. It may say that its measurement is not
        valid: that it fell behind, on a machine that it shares with the server, spoils its latencies and not its
        counts."""
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            command = [
                *[os.environ["INTEROP_BINARY"], "load", "--server", f"http://{self.address}"],
                *["--operation", operation, "--rate", f"{rate}", "--duration", f"{seconds}s", "--warm-up", "0s"],
                *["--streams", f"{streams}", "--payload", f"{payload}", "--arrivals", "constant"],
                *["--no-cache", "--drain", "240s", "--json", report.name],
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode in (0, 3), done.stdout
            return json.load(report)

    def stop(self):
        """Asks the server to end, and holds it to that: it drains, and exits with 0."""
        for channel in self._channels:
            channel.close()
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the server was still there {PATIENCE_S} s after SIGTERM") from None
        assert code == 0, f"the server ended with {code}"


@contextmanager
def serving(*flags):
    """A server for the length of a block."""
    server = Server(*flags)
    try:
        yield server
    except BaseException:
        server.process.kill()
        server.process.wait()
        raise
    server.stop()
