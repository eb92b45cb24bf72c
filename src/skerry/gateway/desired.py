"""From Ingresses to what is wanted: which host and path goes where, with which certificate, and what is wrong. Pure.

Called by the gateway's shell when an Ingress, an IngressClass, or one of the Services and Secrets that `Desired` names
has changed. Rules I1-I5, I9; what upstream leaves open is decided in docs/explanation/ingress.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skerry.api.types import core, networking
from skerry.gateway.model import Certificate, Desired


def desired(
    ingresses: Iterable[networking.Ingress],
    classes: Iterable[networking.IngressClass],
    services: Mapping[str, core.Service],
    secrets: Mapping[str, core.Secret],
    last_good: Mapping[str, Certificate] | None = None,
) -> Desired:
    """What all Ingresses ask for together; never raises for what is in an object.

    `services` and `secrets` are looked up by namespace/name and may hold any others. `last_good` is `certificates` of
    the last Desired: what a Secret keeps that no longer holds a certificate with its key; it also saves reading again.
    """
    raise NotImplementedError
