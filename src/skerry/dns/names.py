"""All that a node answers by itself: the cluster's names, the extra ones, the few that are never asked elsewhere. Pure.

Called by the server, which asks an upstream server where the answer is None. `walk` is the search path of a pod, walked
for it: the pod's resolver asks first for `example.org.default.svc.cluster.local` and would ask four more times.

A name of one label is never sent upstream for an address: no public name has one, the cluster's own are found by search
path, and a resolver that has no internet would make every typing error cost seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.dns.answer import ALWAYS, CHAIN_LIMIT, Answer, Record
from skerry.dns.extra import Extra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skerry.dns.records import Records

_LOCALHOST = {"A": "127.0.0.1", "AAAA": "::1"}


class Names:
    """`own` are records that every cluster has; `custom` and `routed` come from the ConfigMap and change.

    `routed(name)`: is there a stub domain that has this name (with its last dot)?
    """

    def __init__(self, records: Records, own: Extra | None = None) -> None:
        self.records = records
        self.custom = Extra()
        self.routed: Callable[[str], bool] = lambda _: False
        self._own = own or Extra()

    def answer(self, qname: str, qtype: str, depth: int = 0) -> Answer | None:
        """As `Records.answer`; a chain of CNAMEs is followed as far as it stays here."""
        name = qname.rstrip(".") + "."
        found = self._one(name, qtype, depth)
        if found is None or found.chase is None:
            return found
        if depth >= CHAIN_LIMIT:
            return Answer("SERVFAIL")
        rest = self.answer(found.chase, qtype, depth + 1)
        if rest is None:
            return found
        if rest.rcode == "SERVFAIL":
            return rest
        depends = found.depends | rest.depends if found.depends is not None and rest.depends is not None else None
        return Answer(rest.rcode, [*found.answers, *rest.answers], rest.authority, (), rest.chase, depends)

    def _one(self, name: str, qtype: str, depth: int) -> Answer | None:
        found = self.records.answer(name, qtype, depth)
        if found is not None and not (found.rcode == "NXDOMAIN" and name.lower().endswith(".arpa.")):
            return found
        extra = self.custom.answer(name, qtype) or self._own.answer(name, qtype)
        return extra or found or self._never_upstream(name, qtype)

    def _never_upstream(self, name: str, qtype: str) -> Answer | None:
        labels = name.lower().split(".")[:-1]
        if labels[-1:] == ["localhost"]:
            address = _LOCALHOST.get(qtype)
            records = [Record(name, qtype, self.records.ttl, address)] if address else []
            return Answer(answers=records, depends=ALWAYS)
        if len(labels) == 1 and labels[0] and qtype in _LOCALHOST and not self.routed(name):
            return Answer("NXDOMAIN", depends=ALWAYS)
        return None

    def steps(self, qname: str, qtype: str, searches: Sequence[str]) -> list[str]:
        """The names that a resolver with this search path would ask one after the other, beginning with `qname`.

        Only `qname` where that is not the beginning of such a walk.
        """
        name = qname.rstrip(".") + "."
        first = "." + searches[0].rstrip(".").lower() + "." if searches else ""
        if qtype not in _LOCALHOST or not first or not name.lower().endswith(first):
            return [name]
        base = name[: -len(first)]
        found = [name, *(f"{base}.{one.rstrip('.')}." for one in searches[1:]), base + "."]
        return [one for one in found if len(one) < 255]


def walked(asked: str, found: Answer, name: str, ttl: int) -> Answer:
    """The answer to `asked` when the search path led to `name`: an alias, and what that has."""
    if name.lower() == asked.lower():
        return found
    alias = Record(asked, "CNAME", ttl, name)
    return Answer(found.rcode, [alias, *found.answers], found.authority, (), found.chase, found.depends)
