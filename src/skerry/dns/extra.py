"""Names of the cluster's users and the few that every cluster has: records beside those of Services. Pure.

`custom` reads them from a ConfigMap, `names` asks. A name that has records here is answered from here alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.dns.answer import ALWAYS, Answer, Record

if TYPE_CHECKING:
    from collections.abc import Iterable


class Extra:
    """Records by name. `closed`: domains that nobody else is asked about, for what they do not have is not there."""

    def __init__(self, records: Iterable[Record] = (), closed: Iterable[str] = ()) -> None:
        self._records: dict[str, list[Record]] = {}
        self._closed = tuple("." + one.strip(".").lower() + "." for one in closed)
        for one in records:
            self._records.setdefault(one.name.lower(), []).append(one)

    def answer(self, qname: str, qtype: str) -> Answer | None:
        """The answer to `qname` (with its last dot), or None: nothing is known of it here."""
        name = qname.lower()
        found = self._records.get(name)
        if found is None:
            inside = any(("." + name).endswith(one) for one in self._closed)
            return Answer("NXDOMAIN", depends=ALWAYS) if inside else None
        chosen = [one._replace(name=qname) for one in found if qtype in (one.type, "ANY")]
        if chosen or qtype == "CNAME":
            return Answer(answers=chosen, depends=ALWAYS)
        alias = next((one for one in found if one.type == "CNAME"), None)
        if alias is None:
            return Answer(depends=ALWAYS)
        return Answer(answers=[alias._replace(name=qname)], chase=str(alias.data), depends=ALWAYS)

    def __len__(self) -> int:
        return sum(map(len, self._records.values()))
