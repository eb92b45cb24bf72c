"""What a pod cannot have, said in the words of its events."""

from __future__ import annotations

import pytest

from skerry.api.types import core, meta
from skerry.node.agent.sandboxes import SandboxError, refuse

LONG = f"{'a' * 60}.db.shop.svc.cluster.local"
FORM = "Failed to construct FQDN from pod hostname and cluster domain, FQDN "


def pod(**spec):
    return core.Pod(metadata=meta.ObjectMeta(name="p", namespace="shop"), spec=core.PodSpec(**spec))


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        (
            {"runtime_class_name": "gvisor"},
            "FailedCreatePodSandBox",
            'RuntimeClass "gvisor" not found: there is only one way to run containers here',
        ),
        (
            {"resource_claims": [core.PodResourceClaim(name="gpu")]},
            "FailedPrepareDynamicResources",
            "resource claims are not served: there is no driver for them",
        ),
        (
            {"set_hostname_as_fqdn": True, "hostname": "a" * 60, "subdomain": "db"},
            "FailedCreatePodSandBox",
            f"{LONG} is too long (64 characters is the max, 86 characters requested)",
        ),
    ],
)
def test_what_cannot_be_had(spec, reason, says) -> None:
    with pytest.raises(SandboxError) as caught:
        refuse(pod(**spec), "cluster.local")
    assert caught.value.reason == reason
    assert str(caught.value).removeprefix("Failed to create pod sandbox: ").removeprefix(FORM) == says


def test_other_pods_are_fine() -> None:
    refuse(pod(set_hostname_as_fqdn=True, hostname="a", subdomain="db"), "cluster.local")
    refuse(pod(hostname="a" * 60, subdomain="db"), "cluster.local")
