"""Defaults of webhook configurations. Called through defaults.apply."""

from __future__ import annotations

from skerry.api.types import admissionregistration, meta

HTTPS = 443


def _webhook(one: admissionregistration.MutatingWebhook | admissionregistration.ValidatingWebhook) -> None:
    if one.failure_policy is None:
        one.failure_policy = "Fail"
    if one.match_policy is None:
        one.match_policy = "Equivalent"
    if one.namespace_selector is None:
        one.namespace_selector = meta.LabelSelector()
    if one.object_selector is None:
        one.object_selector = meta.LabelSelector()
    if one.timeout_seconds is None:
        one.timeout_seconds = 10
    for rule in one.rules:
        if rule.scope is None:
            rule.scope = "*"
    service = one.client_config.service
    if service is not None and service.port is None:
        service.port = HTTPS


def mutatingwebhookconfiguration(obj: admissionregistration.MutatingWebhookConfiguration) -> None:
    for one in obj.webhooks:
        _webhook(one)
        if one.reinvocation_policy is None:
            one.reinvocation_policy = "Never"


def validatingwebhookconfiguration(obj: admissionregistration.ValidatingWebhookConfiguration) -> None:
    for one in obj.webhooks:
        _webhook(one)
