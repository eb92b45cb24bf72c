"""The drain barrier in transcripts: whom the agent of a deleted pod waits for, by the pure core. Called by world.py."""

from __future__ import annotations

from skerry.api.types import core
from skerry.node.pods.drain import DNS, PROXY, Behind, Endpoints, bound
from tests.scenarios.store import Refused, Store, key_of

GRACE = 30.0


class Drains:
    """`acknowledge`: what a component of a node does; `look`: what the agent sees."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._applied: dict[Behind, int] = {}
        self._followed: dict[str, Endpoints] = {}

    def acknowledge(self, node: str, component: str) -> str:
        if component not in (PROXY, DNS):
            raise Refused(f"a node has a {PROXY} and a {DNS}, no {component}")
        self._store.need("Node", node)
        self._applied[Behind(node, component)] = self._store.revision
        return f"the {component} of {node} does what all slices say"

    def look(self, pod: core.Pod) -> str:
        """What holds the stop signal back."""
        if pod.metadata.deletion_timestamp is None:
            raise Refused(f"pod {key_of(pod)} is not being deleted")
        found = self._followed.setdefault(pod.metadata.uid, Endpoints(pod.metadata.uid))
        for one in self._store.all("EndpointSlice"):
            found.on_slice(key_of(one), one)
        if not found.needed:
            return "no Service leads to it: it is told to stop at once"
        if found.sending:
            return "\n".join(f"slice {one} still leads new connections to it" for one in sorted(found.sending))
        nodes = [one.metadata.name for one in self._store.all("Node")]
        behind = found.behind(nodes, self._applied)
        if behind:
            return "\n".join(f"the {one.component} of {one.node} may still send it new connections" for one in behind)
        seconds = bound(pod, GRACE)
        return f"nobody sends it new connections; those it has are waited for, {seconds:.0f} s of {GRACE:.0f} at most"
