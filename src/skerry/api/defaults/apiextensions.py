"""Defaults of CustomResourceDefinitions. Called through defaults.apply."""

from __future__ import annotations

from skerry.api.types import apiextensions


def customresourcedefinition(obj: apiextensions.CustomResourceDefinition) -> None:
    names = obj.spec.names
    names.singular = names.singular or names.kind.lower()
    if not names.list_kind and names.kind:
        names.list_kind = f"{names.kind}List"
    if obj.spec.conversion is None:
        obj.spec.conversion = apiextensions.CustomResourceConversion(strategy="None")
    webhook = obj.spec.conversion.webhook
    service = webhook.client_config.service if webhook is not None and webhook.client_config is not None else None
    if service is not None and service.port is None:
        service.port = 443
    if not obj.status.stored_versions:
        obj.status.stored_versions = [one.name for one in obj.spec.versions if one.storage][:1]
