"""The accounts that a pod has for the registry of an image: its imagePullSecrets, read when it is to be pulled.

Called by instances.py. Those of the pod's ServiceAccount were written into the pod when it was created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.types import core
from skerry.node.agent.objects import Ref
from skerry.node.images import keyring, reference
from skerry.node.images.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.node.agent.objects import Objects


async def accounts(
    objects: Objects, pod: core.Pod, image: str, say: Callable[[str, str, str], None]
) -> list[keyring.Credentials]:
    """In the order in which they are to be tried. `say`: takes an event about the pod. ApiError."""
    names = list(dict.fromkeys(one.name for one in pod.spec.image_pull_secrets if one.name))
    if not names:
        return []
    found = {name: await objects.read(Ref(core.Secret, pod.metadata.namespace, name)) for name in names}
    missing = ", ".join(name for name in names if found[name] is None)
    if missing:
        text = f"Unable to retrieve some image pull secrets ({missing}); attempting to pull the image may not succeed."
        say("Warning", "FailedToRetrieveImagePullSecret", text)
    try:
        wanted = reference.parse(image)
    except ImageError:
        return []  # whoever pulls says so
    return keyring.lookup(keyring.entries(one for one in found.values() if one is not None), wanted)
