"""What a question is answered with, as plain values: made by `records`, `names` and `extra`, written by `wire`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Rcode = Literal["NOERROR", "SERVFAIL", "NXDOMAIN", "REFUSED"]

CHAIN_LIMIT = 8
"""CNAMEs that may follow each other before it is a loop."""

ALWAYS: frozenset[Hashable] = frozenset()
"""What an answer depends on that only another configuration changes."""


class Record(NamedTuple):
    """One resource record. `data` is an address (A, AAAA), a name (CNAME, NS, PTR), a text or several (TXT),
    (priority, weight, port, target) for SRV, (preference, name) for MX or
    (mname, rname, serial, refresh, retry, expire, minimum) for SOA. Names end with a dot.
    """

    name: str
    type: str
    ttl: int
    data: str | tuple[str, ...] | tuple[int, str] | tuple[int, int, int, str] | tuple[str, str, int, int, int, int, int]


@dataclass(slots=True)
class Answer:
    """What to reply. `chase`: a name which ends a CNAME chain and must be asked elsewhere; its records belong into the
    answer. `depends`: what it was made of, in the words of `Records`; None: it must not be kept.
    """

    rcode: Rcode = "NOERROR"
    answers: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    additional: Sequence[Record] = ()
    chase: str | None = None
    depends: frozenset[Hashable] | None = None
