"""Fragments of IPv4 packets."""

import struct

import fep_packet as packet
from fep_test import check, equal


def reassembled(frames, mtu):
    """The packet that fragments make: in order, without gaps, none too large; as a frame."""
    first = frames[0]
    data, at = b"", 0
    for number, frame in enumerate(frames):
        check(len(frame) - 14 <= mtu, f"a fragment of {len(frame) - 14} bytes")
        equal(packet.checksum(frame[14:34]), 0, "header checksum of a fragment")
        field = struct.unpack_from("!H", frame, 20)[0]
        equal((field & 0x1FFF) * 8, at, "offset")
        equal(bool(field & 0x2000), number + 1 < len(frames), "more fragments")
        equal(frame[18:20] + frame[22:24] + frame[26:34], first[18:20] + first[22:24] + first[26:34], "header")
        data += frame[34:14 + struct.unpack_from("!H", frame, 16)[0]]
        at = len(data)
    header = bytearray(first[14:34])
    struct.pack_into("!H", header, 2, 20 + len(data))
    struct.pack_into("!H", header, 6, 0)
    struct.pack_into("!H", header, 10, 0)
    struct.pack_into("!H", header, 10, packet.checksum(bytes(header)))
    return first[:14] + bytes(header) + data
