"""Small random changes of an input, made with knowledge of its format.

A change of random bytes is nearly always rejected by the first check of a format (a length, a
digest, a JSON parser). These mutations therefore change what is inside: values of a JSON header,
lines and cells of a table, the body of a request.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

NUMBERS = (0, 1, -1, 2, 7, 255, 65_536, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**12, 10**30)
VALUES: tuple[Any, ...] = (
    None, True, False, *NUMBERS, 0.5, -0.0, 1e-320, 1e308, "", "a", "t0", "nan", "x" * 1000,
    "\x00", "é\ud7ff", [], [[]], {}, [1, 2], {"a": 1}, {"$float": "nan"}, {"$float": "-inf"},
    {"$tensor": "t0"}, {"$tensor": "t1"}, {"$tuple": []}, {"$tuple": [1, 2]}, {"$set": [1, "a"]},
    {"$dict": [["a", 1]]}, {"$dict": [[1, 2, 3]]}, {"$array": ["a"], "shape": [1], "dtype": "U"},
    {"$array": [1], "shape": [10**9], "dtype": "O"}, {"$array": ["a" * 1000] * 9, "shape": [-1],
    "dtype": "U"}, {"$scalar": 1, "dtype": "<f8"}, {"$scalar": "a", "dtype": "<U9"},
    {"$scalar": 1, "dtype": "V9"}, {"$dtype": "<f4"}, {"$type": "|O"}, {"$pandas": "int64"},
    {"$random": {}}, {"$activation": "relu"}, {"$activation": ["relu"]},
    {"$loss": "quantile", "settings": {"levels": [0.5]}, "ours": True},
    {"$object": "Adam", "state": {}}, {"$object": "Privacy", "state": {"noise": -1}},
    {"$object": "StandardScaler", "state": {"n_features_in_": 1}}, {"$object": [], "state": []},
)  # fmt: skip
CELLS = (
    "", "NaN", "NA", "-", "1,5", "1.5", "1.234,5", "1,234.5", "1 234", "−1", "1e400", "0x1F",
    "1" * 400, "inf", "12:61", "2020-02-30", "31.12.1999", "1/2/3", "9999999999-01-01", "€5", "5%",
    "TRUE", "yes", '"', '""', '"a', "a\nb", "a\rb", "\x00", "\ufeff", "\xa0", "ß", "日本",
    "\U0001f600", "=1+1", "a" * 5000, "(1)", "1-", "'1", "1e5", "1;2", "1|2", "#", "//", "[1]",
    '{"a": 1}',
)  # fmt: skip
SEPARATORS = (",", ";", "\t", "|", " ", "\n", "\r", "\r\n", '"', "'", ":", "  ")
ENCODINGS = (
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-8-sig",
    "latin-1",
    "cp1252",
    "gb18030",
)


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, insert, repeat or delete some bytes."""
    content = bytearray(data)
    at = rng.randrange(len(content) + 1)
    length = min(len(content) - at, rng.choice((1, 1, 2, 4, 8, 30, 200)))
    kind = rng.randrange(6)
    if kind == 0 and content:
        content[min(at, len(content) - 1)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        content[at : at + length] = rng.randbytes(length)
    elif kind == 2:
        del content[at : at + length]
    elif kind == 3:
        content[at:at] = content[at : at + length] * rng.choice((1, 2, 100))
    elif kind == 4:
        word = struct.pack(rng.choice("<>") + "Q", rng.choice(NUMBERS) & (2**64 - 1))
        content[at : at + 8] = word[: rng.choice((1, 2, 4, 8))]
    else:
        del content[at:]
    return bytes(content)


# ---------------------------------------------------------------- JSON


def of_json(value: Any, rng: random.Random) -> Any:
    """Replace, delete, repeat or exchange one random part of a JSON value, which is changed."""
    places = list(_places(value))
    if not places:
        return rng.choice(VALUES)
    inside, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del inside[key]
    elif kind == 1:
        other, where = rng.choice(places)
        inside[key] = json.loads(json.dumps(other[where]))
    elif kind == 2:
        inside[key] = [inside[key]] * rng.choice((1, 2, 50))
    elif kind == 3 and isinstance(inside, dict):
        new = rng.choice((*map(str, VALUES), *(str(k) for _, k in places)))
        inside[new] = inside.pop(key)
    elif kind == 4 and isinstance(inside, list):
        inside.insert(key, inside[key])
    elif kind == 5 and isinstance(inside[key], (int, float)):
        inside[key] = rng.choice(
            (inside[key] + 1, -inside[key], inside[key] * 2, 0.5 * inside[key])
        )
    else:
        inside[key] = json.loads(json.dumps(rng.choice(VALUES)))
    return value


def _places(value: Any) -> Any:
    """All containers inside a JSON value, with each of their keys."""
    todo = [value]
    while todo:
        inside = todo.pop()
        if isinstance(inside, (dict, list)):
            keys = list(inside) if isinstance(inside, dict) else range(len(inside))
            for key in keys:
                yield inside, key
                todo.append(inside[key])


# ---------------------------------------------------------------- formats


def of_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the description of a model, the shapes of its tensors, or bytes."""
    where = rng.random()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
        if where < 0.75:
            described = json.loads(header["__metadata__"]["deltaprop"])
            for _ in range(rng.choice((1, 1, 1, 2, 5))):
                described = of_json(described, rng)
            header["__metadata__"]["deltaprop"] = json.dumps(described)
        elif where < 0.9:
            header = of_json(header, rng)
        else:
            rest = of_bytes(rest, rng)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + rest
    except (ValueError, KeyError, TypeError, struct.error, RecursionError, OverflowError):
        return of_bytes(data, rng)


def of_text(data: bytes, rng: random.Random) -> bytes:
    """Change cells, separators, lines or the encoding of a table."""
    kind = rng.randrange(8)
    text = data[:20_000].decode("latin-1")
    if kind == 0:
        return of_bytes(data, rng)
    if kind == 1:
        try:
            return data.decode().encode(rng.choice(ENCODINGS), "replace")
        except UnicodeDecodeError:
            return of_bytes(data, rng)
    if kind == 2:
        old, new = rng.choice(SEPARATORS), rng.choice(SEPARATORS)
        return text.replace(old, new, rng.choice((1, 3, -1))).encode("latin-1")
    if kind == 3:
        lines = text.splitlines(keepends=True) or [""]
        line = rng.choice(lines)
        lines.insert(rng.randrange(len(lines) + 1), line * rng.choice((1, 1, 20)))
        return "".join(lines).encode("latin-1")
    separator = rng.choice([mark for mark in SEPARATORS if mark in text] or [","])
    cells = text.split(separator)
    cells[rng.randrange(len(cells))] = (
        rng.choice(CELLS).encode("utf-8", "replace").decode("latin-1")
    )
    return separator.join(cells).encode("latin-1")


def of_json_text(data: bytes, rng: random.Random) -> bytes:
    """Change a value of a JSON text, or its bytes."""
    try:
        return json.dumps(of_json(json.loads(data), rng)).encode()
    except (ValueError, RecursionError, OverflowError):
        return of_text(data, rng)


def of_request(data: bytes, rng: random.Random) -> bytes:
    """Change the JSON body of an HTTP request, or its head."""
    head, mark, body = data.partition(b"\r\n\r\n")
    if body and rng.random() < 0.7:
        body = of_json_text(body, rng)
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
        head = b"\r\n".join([*lines, b"Content-Length: %d" % len(body)])
        return head + b"\r\n\r\n" + body
    return of_text(head, rng) + mark + body
