"""Small strategies: Namespace, Node, Event, Secret, Ingress, ServiceCIDR, IPAddress."""

from __future__ import annotations

from typing import Any

from skerry.api import codec
from skerry.api.allocation import for_service
from skerry.api.types import meta
from skerry.apiserver.strategies.base import Context, Strategy
from skerry.clock import rfc3339

RANGE_FINALIZER = "networking.k8s.io/service-cidr-finalizer"


class NamespaceStrategy(Strategy):
    """Begins Active, and holds itself back until its content is gone."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        obj.status.phase = "Active"
        if "kubernetes" not in obj.spec.finalizers:
            obj.spec.finalizers.append("kubernetes")

    def prepare_update(self, new: Any, old: Any, subresource: str, ctx: Context) -> None:
        super().prepare_update(new, old, "status" if subresource == "status" else "", ctx)
        if subresource == "finalize":
            # Only the finalizers may change here, and only here.
            new.status = codec.copy(old.status)
        else:
            new.spec.finalizers = list(old.spec.finalizers)


class NodeStrategy(Strategy):
    """A node agent creates its Node with a status: that is kept."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        """Nothing to drop."""


class EventStrategy(Strategy):
    """Has fields that are not where their names say."""

    def field(self, obj: Any, path: str) -> str:
        if path == "source":
            return str(obj.source.component or obj.reporting_component)
        if path == "reportingComponent":
            return str(obj.reporting_component)
        return super().field(obj, path)


class SecretStrategy(Strategy):
    """stringData is a way of writing data; it is never stored."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        _fold(obj)

    def prepare_update(self, new: Any, old: Any, subresource: str, ctx: Context) -> None:
        super().prepare_update(new, old, subresource, ctx)
        if not new.type:
            new.type = old.type
        _fold(new)

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        if old is None and new.type == "kubernetes.io/service-account-token" and "token" not in new.data:
            return ["nobody writes a token into this Secret: `kubectl create token` makes tokens that end"]
        return []


def _fold(obj: Any) -> None:
    import base64

    for key, text in obj.string_data.items():
        obj.data[key] = base64.b64encode(text.encode()).decode()
    obj.string_data = {}


class IngressStrategy(Strategy):
    """The annotation that names a class is old."""

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        if "kubernetes.io/ingress.class" in new.metadata.annotations and old is None:
            says = 'annotation "kubernetes.io/ingress.class" is deprecated'
            return [f"{says}, please use 'spec.ingressClassName' instead"]
        return []


class ServiceCIDRStrategy(Strategy):
    """The range of the cluster is in use for as long as there is the `kubernetes` Service, so it never goes (S41)."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        ready = meta.Condition(
            type="Ready",
            status="True",
            message="Kubernetes Service CIDR is ready",
            last_transition_time=rfc3339(ctx.now),
        )
        obj.status.conditions = [ready]
        if RANGE_FINALIZER not in obj.metadata.finalizers:
            obj.metadata.finalizers.append(RANGE_FINALIZER)


class IPAddressStrategy(Strategy):
    """One that somebody makes keeps its address from Services; those of Services follow what was allocated (S41)."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        name = obj.metadata.name
        if not for_service(obj.metadata.labels) and ctx.ranges.reserve(name):
            ctx.transaction.on_failure(lambda: ctx.ranges.release(name))

    def after_delete(self, obj: Any, ctx: Context) -> None:
        ctx.ranges.release(obj.metadata.name)
