"""The operations, one message a call; a message's failure is the status of its call."""

import hashlib
import os
import struct
import zlib

import pytest
from blake3 import blake3
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from millstream.v1 import data_plane_pb2 as pb
from wire import MIB, PATIENCE_S, Code, refusal, request

OPERATIONS = ["compress", "decompress", "digest", "echo", "thumbnail", "validate"]
ZSTD_MAGIC = bytes.fromhex("28b52ffd")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def process(server, *arguments, **keywords):
    return server.stub.Process(request(*arguments, **keywords), timeout=PATIENCE_S)


def png(width, height):
    """A grey gradient."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((x + y) % 256 for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_digest_agrees_with_pythons_own(server):
    payload = os.urandom(100_000)
    assert process(server, "digest", payload).result == blake3(payload).digest()
    assert process(server, "digest", payload, algorithm="blake3").result == blake3(payload).digest()
    assert process(server, "digest", payload, algorithm="sha256").result == hashlib.sha256(payload).digest()
    assert process(server, "digest").result == blake3().digest()


def test_an_answer_has_the_id_of_its_request(server):
    for id in [0, 1, 2**64 - 1]:
        assert process(server, "echo", b"payload", id=id).id == id


def test_echo_gives_back_what_it_got_and_burns_what_it_was_told_to(server):
    assert process(server, "echo").result == b""
    payload = bytes(range(256)) * 100
    response = process(server, "echo", payload, busy="30ms")
    assert response.result == payload
    assert response.timing.service_time.ToTimedelta().total_seconds() >= 0.03


def test_decompress_undoes_compress(server):
    payload = b"the same words again and again; " * 10_000
    small = process(server, "compress", payload, level="19").result
    assert small.startswith(ZSTD_MAGIC)
    assert len(small) < len(payload) / 100
    assert process(server, "decompress", small).result == payload


def test_a_bomb_is_refused_and_leaves_no_crater(server):
    frame = process(server, "compress", bytes(3 * MIB), level="19").result
    error = refusal(process, server, "decompress", frame * 1000)
    assert error.code() is Code.RESOURCE_EXHAUSTED, error.details()
    assert server.memory("VmHWM") < 500 * MIB


@pytest.mark.parametrize(
    "picture, box, expected",
    [((64, 32), (16, 16), (16, 8)), ((30, 90), (100, 30), (10, 30))],
    ids=["wide", "tall"],
)
def test_a_thumbnail_fits_its_box_and_keeps_its_shape(server, picture, box, expected):
    width, height = map(str, box)
    result = process(server, "thumbnail", png(*picture), width=width, height=height, format="png").result
    assert result.startswith(PNG_SIGNATURE)
    assert struct.unpack(">II", result[16:24]) == expected


@pytest.mark.parametrize("format, starts", [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("png", PNG_SIGNATURE)])
def test_a_thumbnail_comes_in_the_format_that_was_asked_for(server, format, starts):
    result = process(server, "thumbnail", png(40, 40), width="20", height="20", format=format).result
    assert result.startswith(starts)


def test_validate_answers_with_canonical_json(server):
    messy = '{ "b": [1.0, 1e2, "\\u00e9"], "a": {"z": null, "y": true} }'
    assert process(server, "validate", messy.encode()).result == '{"a":{"y":true,"z":null},"b":[1,100,"é"]}'.encode()


def test_validate_says_where_json_is_wrong(server):
    error = refusal(process, server, "validate", b'{\n  "a": 1,\n  "b" 2\n}')
    assert error.code() is Code.INVALID_ARGUMENT
    assert "line 3" in error.details() and "column" in error.details()


def test_json_nested_too_deeply_is_refused(server):
    deep = b"[" * 100_000 + b"]" * 100_000
    assert refusal(process, server, "validate", deep).code() is Code.INVALID_ARGUMENT


def test_an_unknown_operation_is_unimplemented_and_the_known_ones_are_named(server):
    error = refusal(process, server, "transmogrify")
    assert error.code() is Code.UNIMPLEMENTED
    for word in ["transmogrify", *OPERATIONS]:
        assert word in error.details()


@pytest.mark.parametrize(
    "operation, payload, parameters, named",
    [
        ("thumbnail", b"this is no picture", {"width": "10", "height": "10"}, ""),
        ("thumbnail", png(20, 20)[:60], {"width": "10", "height": "10"}, ""),
        ("thumbnail", png(20, 20), {"width": "0", "height": "10"}, "width"),
        ("thumbnail", png(20, 20), {"width": "10", "height": "ten"}, "height"),
        ("thumbnail", png(20, 20), {"width": "10", "height": "10", "format": "bmp"}, "webp"),
        ("digest", b"", {"algorithm": "md5"}, "sha256"),
        ("digest", b"", {"algoritm": "sha256"}, "algorithm"),
        ("compress", b"", {"level": "99"}, "level"),
        ("decompress", b"not a frame", {}, ""),
        ("echo", b"", {"busy": "61s"}, "60"),
        ("echo", b"", {"busy": "a while"}, "busy"),
        ("echo", b"", {"stubborn": "maybe"}, "stubborn"),
    ],
)
def test_what_cannot_be_right_is_an_invalid_argument_and_named(server, operation, payload, parameters, named):
    error = refusal(process, server, operation, payload, **parameters)
    assert error.code() is Code.INVALID_ARGUMENT, error.details()
    assert named in error.details()


def test_an_error_carries_details_for_machines(server):
    status = rpc_status.from_call(refusal(process, server, "digest", algorithm="md5"))
    assert status is not None, "no google.rpc.Status in the trailers"
    violations = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violations) for detail in status.details), status


def test_the_list_of_operations_is_what_the_server_does(server):
    operations = server.stub.ListOperations(pb.ListOperationsRequest(), timeout=PATIENCE_S).operations
    assert [operation.name for operation in operations] == OPERATIONS
    assert all(operation.description for operation in operations)
    listed = {operation.name: {parameter.name for parameter in operation.parameters} for operation in operations}
    assert listed["digest"] == {"algorithm"}
    assert listed["thumbnail"] == {"width", "height", "format"}
    assert listed["echo"] == {"busy", "stubborn", "panic"}
    assert {operation.name for operation in operations if not operation.cacheable} == {"echo"}
