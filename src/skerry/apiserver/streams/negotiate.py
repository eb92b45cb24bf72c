"""What a request for exec, attach or port-forward wants, and how it wants to speak. Pure. Called by the two bridges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from skerry.api import frames, status

if TYPE_CHECKING:
    from skerry.api.wire import Request

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
FORWARD = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
_SPDY = "SPDY/3.1"


@dataclass(frozen=True, slots=True)
class Agreed:
    """`transport` carries `protocol`: over SPDY, WebSocket messages, or SPDY inside of WebSocket messages.

    Our own clients forward a port by the frames that a node speaks.
    """

    transport: Literal["spdy", "websocket", "tunnel", "frames"]
    protocol: str

    def headers(self) -> dict[str, str]:
        """Of the 101 answer."""
        if self.transport == "spdy":
            return {"Connection": "Upgrade", "Upgrade": _SPDY, "X-Stream-Protocol-Version": self.protocol}
        if self.transport == "frames":
            return {"Connection": "Upgrade", "Upgrade": self.protocol}
        return {"Upgrade": "websocket", **({"Sec-WebSocket-Protocol": self.protocol} if self.protocol else {})}


def remote_command(request: Request) -> Agreed:
    """For exec and attach. ApiError 400 without an upgrade, 403 if no protocol is known to both."""
    return _agree(request, spdy=(V4,), websocket=(V5, V4))


def port_forward(request: Request) -> Agreed:
    """For port-forward, as above; who names no protocol (kr8s) means the channels of V4."""
    if request.headers.get("upgrade", "").lower() == frames.PROTOCOL:
        return Agreed("frames", frames.PROTOCOL)
    return _agree(request, spdy=(FORWARD,), websocket=(TUNNEL, V4, ""))


def _agree(request: Request, *, spdy: tuple[str, ...], websocket: tuple[str, ...]) -> Agreed:
    upgrade = request.headers.get("upgrade", "").lower()
    wants = "upgrade" in request.headers.get("connection", "").lower()
    if wants and upgrade == "websocket":
        known, offered = websocket, request.headers.get("sec-websocket-protocol", "")
    elif wants and upgrade == _SPDY.lower():
        known, offered = spdy, request.headers.get("x-stream-protocol-version", "")
    else:
        raise status.bad_request("Upgrade request required")
    names = [name.strip() for name in offered.split(",") if name.strip()]
    if not names and "" in known:
        return Agreed("websocket", "")
    chosen = next((name for name in names if name in known), None)
    if chosen is None:
        text = f"client supports [{', '.join(names)}], server accepts [{', '.join(known)}]"
        raise status.ApiError(403, f"unable to upgrade: unable to negotiate protocol: {text}", reason="Forbidden")
    if upgrade != "websocket":
        return Agreed("spdy", chosen)
    return Agreed("tunnel" if chosen == TUNNEL else "websocket", chosen)
