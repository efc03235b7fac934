"""Takes GGUF files apart and puts them together again with other metadata and tensors. Needs nothing but Python 3, and reads only what is well-formed."""
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(kind, content):
    """The bytes of a value with its type in front. Arrays: content is (element kind, list)."""
    def plain(k, c):
        return text(c) if k == STRING else struct.pack("<" + FORMATS[k], c)

    if kind == ARRAY:
        element, items = content
        return struct.pack("<IIQ", ARRAY, element, len(items)) + b"".join(plain(element, item) for item in items)
    return struct.pack("<I", kind) + plain(kind, content)


class Gguf:
    """`keys`: name to the bytes of its value, type in front. `tensors`: name to (shape, type number, data), shape as in the file."""

    def __init__(self, path):
        data = path.read_bytes()
        magic, self.version, tensors, keys = struct.unpack_from("<4sIQQ", data)
        assert magic == b"GGUF" and self.version == 3
        at = 24

        def take_text():
            nonlocal at
            (length,) = struct.unpack_from("<Q", data, at)
            at += 8 + length
            return data[at - length : at].decode()

        def skip(kind):
            nonlocal at
            if kind == STRING:
                take_text()
            elif kind == ARRAY:
                element, count = struct.unpack_from("<IQ", data, at)
                at += 12
                for _ in range(count):
                    skip(element)
            else:
                at += struct.calcsize("<" + FORMATS[kind])

        self.keys = {}
        for _ in range(keys):
            name = take_text()
            start = at
            (kind,) = struct.unpack_from("<I", data, at)
            at += 4
            skip(kind)
            self.keys[name] = data[start:at]
        entries = []
        for _ in range(tensors):
            name = take_text()
            (rank,) = struct.unpack_from("<I", data, at)
            shape = struct.unpack_from(f"<{rank}Q", data, at + 4)
            kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * rank)
            at += 16 + 8 * rank
            entries.append((name, shape, kind, offset))
        base = (at + 31) // 32 * 32
        ends = sorted({offset for *_, offset in entries} | {len(data) - base})
        self.tensors = {}
        for name, shape, kind, offset in entries:
            # Padding comes along, which does no harm.
            self.tensors[name] = (shape, kind, data[base + offset : base + ends[ends.index(offset) + 1]])

    def set(self, name, kind, content):
        self.keys[name] = value(kind, content)
        return self

    def write(self, path, same_place=()):
        """`same_place`: names whose data lies where that of the first of them does."""
        head = struct.pack("<4sIQQ", b"GGUF", self.version, len(self.tensors), len(self.keys))
        head += b"".join(text(name) + raw for name, raw in self.keys.items())
        body, shared = b"", None
        for name, (shape, kind, data) in self.tensors.items():
            offset = len(body)
            if name in same_place and shared is not None:
                offset = shared
            else:
                body += data + bytes(-len(data) % 32)
            if name in same_place and shared is None:
                shared = offset
            head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        path.write_bytes(head + bytes(-len(head) % 32) + body)
        return path
