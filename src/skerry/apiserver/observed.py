"""What is told of each request over HTTP: metrics under upstream's names, and a line of the audit log.

Called by edge.py. Requests of this process's own parts (controllers) are not HTTP and not in here.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from skerry.api import codec
from skerry.api.wire import Pieces
from skerry.apiserver import metadata, routes
from skerry.clock import rfc3339_micro
from skerry.metrics import PROCESS, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.wire import Request, Response
    from skerry.apiserver.routes import Find, Target

_SECONDS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3),
    *(4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)
_BYTES = tuple(1000.0 * 10**n for n in range(7))
_WHAT = ("group", "version", "resource", "subresource", "scope", "component")
_TOTAL = PROCESS.add(
    Counter("apiserver_request_total", "Requests that were answered.", ("verb", "dry_run", *_WHAT, "code"))
)
_DURATION = PROCESS.add(
    Histogram(
        "apiserver_request_duration_seconds", "From a request to its answer.", ("verb", "dry_run", *_WHAT), _SECONDS
    )
)
_SIZES = PROCESS.add(
    Histogram("apiserver_response_sizes", "Bytes of answers to GET and LIST.", ("verb", *_WHAT), _BYTES)
)
_LONG = PROCESS.add(Gauge("apiserver_longrunning_requests", "Watches and streams that are open.", ("verb", *_WHAT)))
_NOW = PROCESS.add(Gauge("apiserver_current_inflight_requests", "Requests being answered.", ("request_kind",)))

_PROCESS, _count = metadata.unique()[:24], itertools.count()
"""An audit ID is a UUID; all but its last group say which process gave it. It need not be hard to guess."""

_OF_ONE = {"GET": "GET", "HEAD": "GET", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE", "POST": "POST"}
_OF_MANY = {"GET": "LIST", "HEAD": "LIST", "POST": "POST", "DELETE": "DELETECOLLECTION"}
_CONNECTED = ("exec", "attach", "portforward", "proxy", "log")
_AUDITED = {"LIST": "list", "WATCH": "watch", "POST": "create", "PUT": "update", "APPLY": "patch"}


class _Subject(NamedTuple):
    """What a request is about: verb, dry_run, and the labels of _WHAT. Never what a client made up."""

    verb: str
    dry_run: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""
    component: str = "apiserver"

    @property
    def what(self) -> tuple[str, ...]:
        return self[2:]


def subject(request: Request, target: Target | None) -> _Subject:
    """The labels of a request, bounded: only names of what is served."""
    dry = request.query.get("dryRun", "")
    if target is None:
        return _Subject(_OF_ONE.get(request.method, "OTHER"), "All" if dry else "")
    row = target.resource
    verb = (_OF_ONE if target.name else _OF_MANY).get(request.method, "OTHER")
    if target.subresource in _CONNECTED:
        verb = "CONNECT"
    elif request.method == "GET" and request.flag("watch"):
        verb = "WATCH"
    elif verb == "PATCH" and request.headers.get("content-type", "").startswith("application/apply-patch"):
        verb = "APPLY"
    scope = "resource" if target.name or verb == "POST" else "namespace" if target.namespace else "cluster"
    return _Subject(verb, "All" if dry else "", row.group, row.version, row.plural, target.subresource, scope)


class Seen:
    """One request, from when its header and body are there to the end of its answer."""

    def __init__(self, request: Request, remote: str, log: Callable[[bytes], None] | None, find: Find) -> None:
        """`find` knows what is served (routes.parse); `log` takes lines of the audit log."""
        self.id = request.headers.get("audit-id", "")[:64] or f"{_PROCESS}{next(_count):012x}"
        self._request, self._remote, self._log = request, remote, log
        self._target = request.target = routes.parse(request.path, find)
        self._subject = subject(request, self._target)
        self._kind = "readOnly" if request.method in ("GET", "HEAD") else "mutating"
        self._long = self._subject.verb in ("WATCH", "CONNECT")
        self._begun, self._at = time.perf_counter(), time.time()
        if not self._long:
            _NOW.add(1, self._kind)

    def answered(self, response: Response) -> None:
        """The answer is there; of a watch or a stream: it begins."""
        one = self._subject
        if not self._long:
            _NOW.add(-1, self._kind)
            taken = time.perf_counter() - self._begun
            _DURATION.observe(taken, one.verb, one.dry_run, *one.what)
            body = response.body
            if one.verb in ("GET", "LIST") and isinstance(body, bytes | Pieces):
                _SIZES.observe(len(body), one.verb, *one.what)
            self._ended(response, "ResponseComplete")
        elif response.status < 300:
            _LONG.add(1, one.verb, *one.what)
            self._audit(response, "ResponseStarted")

    def streamed(self, response: Response) -> None:
        """A watch or a stream has ended."""
        if not self._long:
            return
        if response.status < 300:
            _LONG.add(-1, self._subject.verb, *self._subject.what)
        self._ended(response, "ResponseComplete")

    def _ended(self, response: Response, stage: str) -> None:
        one = self._subject
        _TOTAL.add(1, one.verb, one.dry_run, *one.what, str(response.status))
        self._audit(response, stage)

    def _audit(self, response: Response, stage: str) -> None:
        if self._log is not None:
            self._log(codec.encode(self._line(response, stage)) + b"\n")

    def _line(self, response: Response, stage: str) -> dict[str, Any]:
        """An Event of audit.k8s.io/v1, at level Metadata: who did what to what, and no contents."""
        request, user = self._request, self._request.user
        query = f"?{request.raw_query}" if request.raw_query else ""
        target = self._target
        verb = self._subject.verb
        line: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": self.id,
            "stage": stage,
            "requestURI": request.path + query,
            "verb": _AUDITED.get(verb, verb.lower()) if target else request.method.lower(),
            "user": {"username": user.name, "groups": list(user.groups)} if user else {},
            "sourceIPs": [self._remote] if self._remote else [],
            "userAgent": request.headers.get("user-agent", ""),
            "responseStatus": {"metadata": {}, "code": response.status},
            "requestReceivedTimestamp": rfc3339_micro(self._at),
            "stageTimestamp": rfc3339_micro(time.time()),
        }
        if target is not None:
            row = target.resource
            about = {
                "resource": row.plural, "namespace": target.namespace, "name": target.name,
                "apiGroup": row.group, "apiVersion": row.version, "subresource": target.subresource,
            }  # fmt: skip
            line["objectRef"] = {key: value for key, value in about.items() if value}
        return line
