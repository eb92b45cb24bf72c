"""Shows webhooks who wants a connection into a pod or a node: exec, attach, portforward, proxy. Called by app.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import status
from skerry.api.numerals import whole
from skerry.apiserver.webhooks.matching import CONNECT

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server

_KINDS = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
_FLAGS = ("stdin", "stdout", "stderr", "tty")
PARTS = (*_KINDS, "proxy")


async def check(server: Server, target: Target, request: Request) -> tuple[str, ...]:
    """Warnings. ApiError if a webhook refuses the connection, or would have it another one: that nobody can."""
    part = target.subresource
    kind = _KINDS.get(part, f"{target.resource.kind}ProxyOptions")
    hooks = await server.webhooks.begin(CONNECT, target, request, kind=("", "v1", kind))
    if hooks is None:
        return ()
    options: dict[str, Any] = {"kind": kind, "apiVersion": "v1"}
    if part in ("exec", "attach"):
        options |= {name: True for name in _FLAGS if request.flag(name)}
        options |= {"container": request.query["container"]} if request.query.get("container") else {}
    if part == "exec":
        options["command"] = request.values("command")
    elif part == "portforward":
        said = [whole(one) for text in request.values("ports") for one in text.split(",")]
        options["ports"] = [one for one in said if one is not None]
    elif part == "proxy":
        options["path"] = f"/{target.rest}"
    if await hooks.mutate(options, None) != options:
        raise status.ApiError(500, "Internal error occurred: a webhook cannot change a connection, only refuse it")
    await hooks.validate(options, None)
    return tuple(hooks.warnings)
