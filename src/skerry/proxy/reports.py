"""What a proxy tells the cluster of in events. Called by whoever runs one: a node's process and `skerry proxy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.types import core, meta

if TYPE_CHECKING:
    from skerry.client.events import Recorder
    from skerry.client.informer import Informers


class Reports:
    """The events of the proxy of `node` (its Node's name)."""

    def __init__(self, recorder: Recorder, informers: Informers, node: str) -> None:
        self._recorder = recorder
        self._services = informers.of(core.Service)
        self._node = core.Node(metadata=meta.ObjectMeta(name=node, uid=node))

    def repaired(self) -> None:
        """Somebody had changed the kernel's table, which is mended."""
        self._recorder.event(
            self._node,
            "Warning",
            "ServiceTableRepaired",
            "somebody else had changed the kernel's service table of this node; it is as it should be again",
        )

    def no_health_check(self, key: str, message: str) -> None:
        """The health check port of a Service (namespace/name) could not be opened."""
        service = self._services.get(key)
        if service is not None:
            self._recorder.event(service, "Warning", "FailedToStartServiceHealthcheck", message)
