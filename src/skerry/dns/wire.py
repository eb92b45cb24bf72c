"""Between packets and plain values: reads a question, writes an answer. Pure; dnslib knows the format.

The most ordinary of both, a question of plain letters and an answer of addresses alone, are read and written here
without it: that takes 8 microseconds instead of 150, and is most of what a cluster asks. Called by the server. Hostile
packets end here: `read` gives a `Query`, a ready-made error reply, or None for what deserves no reply at all.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import dnslib

from skerry.dns.answer import Answer, Record

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

HEADER = 12
CLASSIC_LIMIT = 512  # bytes of a UDP answer to a client without EDNS
EDNS_LIMIT = 4096  # what we send at most by UDP, whatever a client says it can take
_QUERY_LIMIT = 4096  # no honest question is longer
FORMERR, SERVFAIL, NOTIMP, REFUSED, BADVERS = 1, 2, 4, 5, 16
_LETTERS = re.compile(rb"[A-Za-z0-9_.-]+")
_TWO, _OPT = struct.Struct("!2H"), struct.Struct("!HHHH")
_HEADER, _RECORD = struct.Struct("!2s5H"), struct.Struct("!HHHIH")
_OUR_OPT = struct.pack("!BHHIH", 0, 41, EDNS_LIMIT, 0, 0)
_RCODES = {"NOERROR": 0, "SERVFAIL": SERVFAIL, "NXDOMAIN": 3, "REFUSED": REFUSED}


@dataclass(slots=True)
class Query:
    """One question. `limit`: bytes that its sender takes by UDP. `packet`: as it came, for forwarding."""

    packet: bytes
    name: str
    type: str
    limit: int
    edns: bool
    parsed: Any = None

    def whole(self) -> Any:
        """The packet as dnslib has it."""
        if self.parsed is None:
            self.parsed = dnslib.DNSRecord.parse(self.packet)
        return self.parsed


def read(packet: bytes) -> Query | bytes | None:
    """The question in `packet`; or the bytes of the error to reply; or None: drop it."""
    if len(packet) < HEADER or packet[2] & 0x80:
        return None  # a reply is never answered, or two servers could shout at each other for ever
    _, _, questions, answers, authorities, additional = struct.unpack_from("!6H", packet)
    if packet[2] & 0x78:
        return error(packet, NOTIMP)
    if questions != 1 or answers or authorities or additional > 2 or len(packet) > _QUERY_LIMIT:
        return error(packet, FORMERR)
    plain = _plain(packet, additional)
    if plain is not None:
        return plain
    try:
        parsed = dnslib.DNSRecord.parse(packet)
        question = parsed.questions[0]
        name, qtype, qclass = str(question.qname), int(question.qtype), int(question.qclass)
        if len(question.qname) > 253:
            return error(packet, FORMERR)
        options = [record for record in parsed.ar if record.rtype == dnslib.QTYPE.OPT]
    except Exception:  # noqa: BLE001 - whatever a hostile packet makes the parser raise, it is a malformed packet
        return error(packet, FORMERR)
    if len(options) > 1:
        return error(packet, FORMERR)
    limit = CLASSIC_LIMIT
    query = Query(bytes(packet), name, _type_name(qtype), limit, bool(options), parsed)
    if options:
        query.limit = min(max(CLASSIC_LIMIT, int(options[0].rclass)), EDNS_LIMIT)
        if (int(options[0].ttl) >> 16) & 0xFF:
            return write(query, Answer(), rcode=BADVERS)
    if qclass not in (1, 255):
        return error(packet, REFUSED)
    return query


def _plain(packet: bytes, additional: int) -> Query | None:
    """The question, if it is one of letters, digits, "-" and "_", with nothing or one plain OPT after it."""
    at, end, labels = HEADER, len(packet), []
    while at < end and (size := packet[at]):
        labels.append(packet[at + 1 : at + 1 + size])
        at += size + 1
    name = b".".join(labels)
    if at + 5 > end or len(name) > 253 or _LETTERS.fullmatch(name) is None or name.count(b".") != len(labels) - 1:
        return None
    qtype, qclass = _TWO.unpack_from(packet, at + 1)
    limit, rest = CLASSIC_LIMIT, at + 5
    if qclass != 1 or max(map(len, labels)) > 63:
        return None
    if additional:
        # The root's name, type 41, what its sender takes, no extended code, version 0, flags; and as long as it says.
        if additional != 1 or end < rest + 11 or packet[rest : rest + 3] != b"\0\0\x29" or packet[rest + 6]:
            return None
        size, _, _, length = _OPT.unpack_from(packet, rest + 3)
        if end != rest + 11 + length:
            return None
        limit = min(max(CLASSIC_LIMIT, size), EDNS_LIMIT)
    elif end != rest:
        return None
    return Query(packet, name.decode("ascii") + ".", _type_name(qtype), limit, bool(additional))


def error(packet: bytes, rcode: int) -> bytes:
    """A bare header with `rcode` in reply to `packet` (at least 12 bytes)."""
    flags = 0x8000 | ((packet[2] & 0x79) << 8) | 0x0080 | rcode
    return packet[:2] + struct.pack("!5H", flags, 0, 0, 0, 0)


def write(
    query: Query,
    answer: Answer,
    *,
    authoritative: bool = True,
    rcode: int | None = None,
    extra: Sequence[Any] = (),
    shuffle: random.Random | None = None,
    limit: int | None = None,
) -> bytes:
    """The reply's bytes. `extra`: dnslib records appended to the answer (a chased CNAME's). `shuffle` mixes addresses.

    With `limit` (UDP) the additional section goes first, then answers from the end, with the TC bit set.
    """
    code = _RCODES[answer.rcode] if rcode is None else rcode
    if query.parsed is None and not (answer.authority or answer.additional or extra or code > 15):
        plain = _addresses(query, answer, authoritative, code, shuffle)
        if plain is not None and (limit is None or len(plain) <= limit):
            return plain
    parsed = query.whole()
    reply = dnslib.DNSRecord(
        dnslib.DNSHeader(id=parsed.header.id, qr=1, aa=int(authoritative), ra=1, rd=parsed.header.rd, rcode=code & 15),
        q=parsed.questions[0],
    )
    reply.header.rd = parsed.header.rd
    answers = list(answer.answers)
    if shuffle is not None and len(answers) > 1:
        answers = _mixed(answers, shuffle)
    owner = parsed.questions[0].qname
    reply.rr = [_encode(record, query.name, owner) for record in answers]
    reply.rr += extra
    reply.auth = [_encode(record, query.name, owner) for record in answer.authority]
    reply.ar = [_encode(record, query.name, owner) for record in answer.additional]
    opt = [dnslib.EDNS0(udp_len=EDNS_LIMIT, ext_rcode=code >> 4)] if query.edns else []
    reply.ar += opt
    packed = bytes(reply.pack())
    if limit is None or len(packed) <= limit:
        return packed
    reply.ar = opt
    packed = bytes(reply.pack())
    if len(packed) <= limit:
        return packed
    reply.header.tc = 1
    whole, reply.auth = reply.rr, []
    low, high = 0, len(whole) - 1
    while low < high:  # the most records that fit
        middle = (low + high + 1) // 2
        reply.rr = whole[:middle]
        if len(reply.pack()) <= limit:
            low = middle
        else:
            high = middle - 1
    reply.rr = whole[:low]
    return bytes(reply.pack())


def _addresses(
    query: Query, answer: Answer, authoritative: bool, code: int, shuffle: random.Random | None
) -> bytes | None:
    """The reply, if it is addresses of the name that was asked for and nothing else."""
    parts = []
    for name, kind, ttl, data in answer.answers:
        if name != query.name:
            return None
        if kind == "A":
            parts.append(_RECORD.pack(0xC00C, 1, 1, ttl, 4) + socket.inet_aton(data))  # type: ignore[arg-type]
        elif kind == "AAAA":
            parts.append(_RECORD.pack(0xC00C, 28, 1, ttl, 16) + socket.inet_pton(socket.AF_INET6, data))  # type: ignore[arg-type]
        else:
            return None
    if shuffle is not None and len(parts) > 1:
        shuffle.shuffle(parts)
    packet = query.packet
    flags = 0x8080 | (0x0400 if authoritative else 0) | (packet[2] & 1) << 8 | code
    head = _HEADER.pack(packet[:2], flags, 1, len(parts), 0, int(query.edns))
    end = HEADER + len(query.name) + 5
    return b"".join((head, packet[HEADER:end], *parts, _OUR_OPT if query.edns else b""))


def question_section(packet: bytes) -> bytes | None:
    """The bytes of the one question of a packet, lower case; None when there is not exactly one plain question."""
    if len(packet) < HEADER or struct.unpack_from("!H", packet, 4)[0] != 1:
        return None
    at = HEADER
    while at < len(packet):
        size = packet[at]
        if size == 0:
            end = at + 5
            return packet[HEADER:end].lower() if end <= len(packet) else None
        if size > 63:
            return None
        at += size + 1
    return None


def is_reply_to(packet: bytes, ident: int, question: bytes | None) -> bool:
    """Does `packet` answer our forwarded query of number `ident` with the given question section?"""
    return (
        len(packet) >= HEADER
        and bool(packet[2] & 0x80)
        and struct.unpack_from("!H", packet)[0] == ident
        and question_section(packet) in (question, None)
    )


def renumber(packet: bytes, ident: int) -> bytes:
    """The same packet with another id."""
    return struct.pack("!H", ident) + packet[2:]


def cut(packet: bytes, limit: int) -> bytes:
    """A forwarded reply that is too long for its asker: header and question alone, TC set."""
    if len(packet) <= limit:
        return packet
    question = question_section(packet)
    end = HEADER + len(question) if question is not None else HEADER
    flags = struct.unpack_from("!H", packet, 2)[0] | 0x0200
    return packet[:2] + struct.pack("!5H", flags, int(question is not None), 0, 0, 0) + packet[HEADER:end]


def section_end(packet: bytes) -> int:
    """Where the one question of a packet ends. ValueError when it has none."""
    section = question_section(packet)
    if section is None:
        raise ValueError("not one question")
    return HEADER + len(section)


def rcode_name(code: int) -> str:
    """NOERROR, NXDOMAIN ...; a number that has no name as it is."""
    return str(dnslib.RCODE.forward.get(code, code))


class Found(NamedTuple):
    """A record in a packet: the section (0 answer, 1 authority, 2 additional), its type, and where things begin.

    `name`: its first byte; `ttl`: that of its time to live; `data`: that of what it says; `end`: what comes after it.
    """

    section: int
    type: int
    name: int
    ttl: int
    data: int
    end: int


def records_of(packet: bytes) -> list[Found]:
    """The records of a reply, without what they say. ValueError, struct.error, IndexError: it is malformed."""
    at = section_end(packet)
    found = []
    for section, count in enumerate(struct.unpack_from("!3H", packet, 6)):
        for _ in range(count):
            name, at = at, _name_end(packet, at)
            kind, _, _, size = struct.unpack_from("!HHIH", packet, at)
            found.append(Found(section, kind, name, at + 4, at + 10, at + 10 + size))
            at += 10 + size
            if at > len(packet):
                raise ValueError("a record goes beyond the packet")
    return found


def _name_end(packet: bytes, at: int) -> int:
    while packet[at]:
        if packet[at] & 0xC0 == 0xC0:
            return at + 2
        if packet[at] > 63:
            raise ValueError("no label has this length")
        at += packet[at] + 1
    return at + 1


def question(name: str, qtype: str, ident: int) -> bytes:
    """A question of our own for an upstream server, with EDNS."""
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=ident, rd=1), q=dnslib.DNSQuestion(_label(name), _type_number(qtype)))
    record.add_ar(dnslib.EDNS0(udp_len=1232))
    return bytes(record.pack())


def answers_of(packet: bytes) -> list[Any]:
    """The answer section of an upstream's reply as dnslib records; empty when it cannot be read."""
    try:
        return list(dnslib.DNSRecord.parse(packet).rr)
    except Exception:  # noqa: BLE001 - as in read
        return []


def _mixed(answers: list[Record], rng: random.Random) -> list[Record]:
    """CNAMEs stay in front, addresses come in random order (D13)."""
    if answers[0].type == "CNAME":
        head = [record for record in answers if record.type == "CNAME"]
        tail = [record for record in answers if record.type != "CNAME"]
    else:
        head, tail = [], answers
    rng.shuffle(tail)
    return head + tail


def _encode(record: Record, asked: str, owner: Any) -> Any:
    name = owner if record.name == asked else _label(record.name)
    data: Any = record.data
    match record.type:
        case "A":
            rdata = dnslib.A(data)
        case "AAAA":
            rdata = dnslib.AAAA(data)
        case "SRV":
            rdata = dnslib.SRV(data[0], data[1], data[2], _label(data[3]))
        case "TXT":
            rdata = dnslib.TXT([data] if isinstance(data, str) else list(data))
        case "MX":
            rdata = dnslib.MX(_label(data[1]), data[0])
        case "SOA":
            rdata = dnslib.SOA(_label(data[0]), _label(data[1]), data[2:])
        case kind:
            rdata = {"CNAME": dnslib.CNAME, "NS": dnslib.NS, "PTR": dnslib.PTR}[kind](_label(data))
    return dnslib.RR(name, _type_number(record.type), ttl=record.ttl, rdata=rdata)


def _label(name: str) -> Any:
    return dnslib.DNSLabel(name.encode("ascii", "replace"))


def _type_name(number: int) -> str:
    return str(dnslib.QTYPE.forward.get(number, f"TYPE{number}"))


def _type_number(name: str) -> int:
    return int(dnslib.QTYPE.reverse[name])
