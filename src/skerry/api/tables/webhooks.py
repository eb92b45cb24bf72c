"""Columns of webhook configurations (T1)."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, column
from skerry.api.tables.duration import since
from skerry.api.types import admissionregistration

MUTATINGWEBHOOKCONFIGURATION_COLUMNS = VALIDATINGWEBHOOKCONFIGURATION_COLUMNS = (
    NAME,
    column("Webhooks", "How many webhooks the configuration has.", type="integer"),
    AGE,
)


def mutatingwebhookconfiguration_cells(
    obj: admissionregistration.MutatingWebhookConfiguration | admissionregistration.ValidatingWebhookConfiguration,
    now: float,
) -> list[Any]:
    return [obj.metadata.name, len(obj.webhooks), since(obj.metadata.creation_timestamp, now)]


validatingwebhookconfiguration_cells = mutatingwebhookconfiguration_cells
