"""Controllers follow kinds that come and go: owners, namespaces, and the end of a definition."""

from __future__ import annotations

from typing import Any

from tests.integration.controllers.world import World, world

from skerry.api import custom, status
from skerry.api.types import apiextensions, core, meta
from skerry.api.unstructured import Unstructured

NAME = "widgets.example.com"


async def defined(found: World) -> type[Unstructured]:
    """The kind Widget, served; its class for the client."""
    names = apiextensions.CustomResourceDefinitionNames(plural="widgets", kind="Widget")
    schema: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = apiextensions.CustomResourceDefinitionVersion(
        name="v1",
        served=True,
        storage=True,
        schema=apiextensions.CustomResourceValidation(open_apiv3_schema=schema),
    )
    spec = apiextensions.CustomResourceDefinitionSpec(
        group="example.com", scope="Namespaced", names=names, versions=[version]
    )
    wanted = apiextensions.CustomResourceDefinition(metadata=meta.ObjectMeta(name=NAME), spec=spec)
    await found.client.create(wanted)
    made = await found.client.get(apiextensions.CustomResourceDefinition, NAME)
    (row,) = custom.rows(made)
    return row.type


def widget(kind: type[Unstructured], name: str, namespace: str = "default", **metadata: Any) -> Unstructured:
    return kind(meta.ObjectMeta(name=name, namespace=namespace, **metadata), {"spec": {"size": 1}})


def owned_by(owner: Unstructured) -> list[meta.OwnerReference]:
    found = owner.metadata
    return [meta.OwnerReference(api_version=owner.api_version, kind=owner.kind, name=found.name, uid=found.uid)]


async def test_custom_objects_own_and_are_owned() -> None:
    async with world() as found:
        kind = await defined(found)
        top = await found.client.create(widget(kind, "top"))
        middle = await found.client.create(widget(kind, "middle", owner_references=owned_by(top)))
        below = meta.ObjectMeta(name="below", namespace="default", owner_references=owned_by(middle))
        await found.client.create(core.ConfigMap(metadata=below))
        await found.until(lambda: found.get(core.ConfigMap, "below"))
        await found.client.delete(kind, "top", "default")
        await found.until(lambda: found.get(core.ConfigMap, "below") is None)
        assert (await found.client.list(kind)).items == []


async def test_a_namespace_waits_for_custom_objects() -> None:
    async with world() as found:
        kind = await defined(found)
        await found.client.create(core.Namespace(metadata=meta.ObjectMeta(name="red")))
        await found.client.create(widget(kind, "held", "red", finalizers=["example.com/hold"]))
        await found.client.delete(core.Namespace, "red")

        def says() -> bool:
            namespace = found.get(core.Namespace, "red", "")
            return namespace is not None and any(
                one.message == "Some resources are remaining: widgets.example.com has 1 resource instances"
                for one in namespace.status.conditions
            )

        await found.until(says)
        await found.client.patch(kind, "held", {"metadata": {"finalizers": None}}, "red")
        await found.until(lambda: found.get(core.Namespace, "red", "") is None)


async def test_a_definition_waits_for_its_objects() -> None:
    async with world() as found:
        kind = await defined(found)
        await found.client.create(widget(kind, "free"))
        await found.client.create(widget(kind, "held", finalizers=["example.com/hold"]))
        await found.client.delete(apiextensions.CustomResourceDefinition, NAME)

        def says() -> bool:
            definition = found.get(apiextensions.CustomResourceDefinition, NAME, "")
            return definition is not None and any(
                (one.type, one.status, one.reason) == ("Terminating", "True", "InstanceDeletionInProgress")
                for one in definition.status.conditions
            )

        await found.until(says)
        assert [one.metadata.name for one in (await found.client.list(kind)).items] == ["held"]
        await found.client.patch(kind, "held", {"metadata": {"finalizers": None}}, "default")
        await found.until(lambda: found.get(apiextensions.CustomResourceDefinition, NAME, "") is None)
        try:
            await found.client.list(kind)
        except status.ApiError as error:
            assert status.is_not_found(error)  # noqa: PT017  (it must be this error)
        else:
            raise AssertionError("the kind is still served")
