"""create, update and patch: the way every object takes into the store. Called by app.py and by deletion.py.

    body -> typed object -> defaults -> the kind's strategy -> validation -> store

A write that leaves the object as it is writes nothing. A patch, and an update without a resourceVersion, is tried again
when another write came between.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from skerry.api import codec, defaults, resources, status, validation
from skerry.api.types import core, scheduling
from skerry.api.unstructured import Unstructured
from skerry.api.wire import Response
from skerry.apiserver import (
    additions,
    bodies,
    known,
    metadata,
    priorities,
    representation,
    strategies,
    templates,
    tracking,
)
from skerry.apiserver.access import admission
from skerry.apiserver.access.authorizer import Authorizer
from skerry.apiserver.custom import definitions
from skerry.apiserver.custom.served import Served
from skerry.apiserver.labelindex import LabelIndexes
from skerry.apiserver.pace import Pace
from skerry.apiserver.quota import Ledger
from skerry.apiserver.reading import find
from skerry.apiserver.routes import Target
from skerry.apiserver.surroundings import Surroundings
from skerry.apiserver.webhooks.admitting import View, Webhooks
from skerry.apiserver.webhooks.matching import CREATE, UPDATE
from skerry.store.base import Conflict, Exists, Record, Unwritable, stamp, unstamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.resources import Resource
    from skerry.api.wire import Request
    from skerry.apiserver.accounts import ServiceAccounts
    from skerry.clock import Clock
    from skerry.store.base import Store

_ATTEMPTS = 20
_NAMES = 8
_VOLATILE = frozenset({"leases", "acknowledgements"})


@dataclass
class Server:
    """What the verbs work on."""

    store: Store
    clock: Clock
    context: strategies.Context = field(default_factory=strategies.Context)
    accounts: ServiceAccounts | None = None
    """None: pods get no tokens, and nobody can have one."""
    fresh: known.Fresh = field(default_factory=known.Fresh)
    served: Served = field(default_factory=Served)
    pace: Pace = field(default_factory=Pace)
    settling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while what is served is brought in step with the definitions."""
    access: Authorizer = field(init=False)
    ledger: Ledger = field(init=False)
    webhooks: Webhooks = field(init=False)
    labels: LabelIndexes = field(init=False)
    surroundings: Surroundings = field(init=False)

    def __post_init__(self) -> None:
        self.access = Authorizer(self.store)
        self.ledger = Ledger(self.store)
        self.webhooks = Webhooks(self)
        self.labels = LabelIndexes(self.store)
        self.surroundings = Surroundings(self)

    def begin(self) -> tuple[strategies.Context, strategies.Transaction]:
        """What the strategies' hooks of one call are given, and what is committed or rolled back after them."""
        self.context.now = self.clock.now()
        return self.context, self.context.begin()


def answer(server: Server, target: Target, request: Request, record: Record, code: int, *warnings: str) -> Response:
    """The object in the form that the client wants."""
    shared = known.alive(record) if request.shares else None
    if shared is not None:
        return Response(code, object=shared, warnings=warnings)
    form = representation.wanted(request.headers.get("accept", ""))
    include = request.query.get("includeObject", "")
    body = representation.one(form, target.resource, record, server.clock.now(), include)
    return Response(code, body, warnings=warnings)


def load(resource: Resource, record: Record) -> Any:
    """The typed object of a record, the caller's own (known.typed has one that is shared)."""
    return codec.decode(resource.type, known.value(resource, record))


def dry(request: Request) -> bool:
    """Whether nothing may be stored. ApiError 422 for a value that means nothing."""
    said = request.query.get("dryRun", "")
    if said not in ("", "All"):
        error = status.field_not_supported("dryRun", [said], ["All"])
        raise status.invalid("meta.k8s.io", "CreateOptions", "", [error])
    return said == "All"


async def create(server: Server, target: Target, request: Request) -> Response:
    place = await server.surroundings.of(target.namespace) if target.resource is templates.PODS else None
    body = bodies.object_of(request, target.resource, place)
    who = writer(server, request)
    record, warnings = await insert(
        server, target, body.object, dry=dry(request), request=request, who=who, content=body.content
    )
    return answer(server, target, request, record, 201, *body.warnings, *warnings)


def writer(server: Server, request: Request, part: str = "") -> tracking.Who:
    return tracking.who(request, server.clock.now(), part)


async def insert(
    server: Server,
    target: Target,
    obj: Any,
    *,
    dry: bool = False,
    request: Request | None = None,
    who: tracking.Who | None = None,
    content: templates.Content = templates.UNKNOWN,
) -> tuple[Record, list[str]]:
    """Stores a new object; the record and the strategy's warnings.

    `request`: of the one who creates it, None for the server; `who`: the manager of its fields, None if they are not
    tracked; `content`: what is known of the body's.
    """
    row, strategy = target.resource, strategies.of(target.resource)
    definitions.refuse_new(row)
    named = Target(row, target.namespace, obj.metadata.name)
    metadata.begin(obj, row, target.namespace, server.clock.now())
    if row.namespaced:
        await additions.namespace_open(server.store, target, obj.metadata.name)
    if not content.complete:
        defaults.apply(obj)
    tracking.created(row, obj, who, content.template)
    if not content.complete:
        content.begin(obj)
        await additions.add(server, obj)
    hooks = await server.webhooks.begin(CREATE, named, request, dry=dry)
    if hooks is not None:
        obj = await hooks.mutated(obj, None, functools.partial(additions.again, server))
        content = templates.UNKNOWN
    await admission.admit(server.access, request.user if request is not None else None, obj, None)
    found = obj.metadata
    attempts = _NAMES if found.generate_name and found.name.startswith(found.generate_name) else 1
    for attempt in range(attempts):
        context, transaction = server.begin()
        try:
            if not content.complete:
                strategy.prepare_create(obj, context)
                strategy.canonicalize(obj)
            _refuse(row, found.name, validation.create(obj, known=content.complete))
            content.keep(obj)
            warnings = strategy.warnings(obj, None)
            if hooks is not None:
                await hooks.judge(obj, None)
                warnings += hooks.warnings
            await server.ledger.admit(row, obj, transaction)
            key, value = row.key(target.namespace, found.name), known.encoded(row, obj)
            if not dry:
                record = await stored(server.store.create(key, value))
                server.fresh.add(record, obj)
            elif await server.store.get(key) is None:
                record = Record(key, value, 0, 0)
            else:
                raise Exists(key)
        except Exists:
            transaction.rollback()
            if attempt < attempts - 1:
                found.name = metadata.generated(found.generate_name)
                continue
            raise status.already_exists(row.group, row.plural, found.name) from None
        except BaseException:
            transaction.rollback()
            raise
        if dry:
            transaction.rollback()
        transaction.commit()
        await settled(server, row, dry=dry)
        return record, warnings
    raise AssertionError


def _refuse(row: Resource, name: str, errors: list[status.FieldError]) -> None:
    if errors:
        raise status.invalid(row.group, row.kind, name, errors)


async def stored(writing: Any) -> Record:
    try:
        record: Record = await writing
    except Unwritable as error:
        raise status.ApiError(
            507, f"the object was not stored: {error}: free some space on the disk of the cluster's data"
        ) from None
    return record


async def update(server: Server, target: Target, request: Request) -> Response:
    row = target.resource
    body = bodies.object_of(request, row)
    obj = body.object
    metadata.place(obj.metadata, row, target.namespace)
    if obj.metadata.name != target.name:
        raise status.bad_request(
            f"the name of the object ({obj.metadata.name}) does not match the name on the URL ({target.name})"
        )
    if (
        row.create_on_update
        and not target.subresource
        and await server.store.get(row.key(target.namespace, target.name)) is None
        and not obj.metadata.uid
    ):
        obj.metadata.resource_version = ""
        await admission.may_create(server.access, target, request)
        record, warnings = await insert(
            server, target, obj, dry=dry(request), request=request, who=writer(server, request)
        )
        return answer(server, target, request, record, 201, *body.warnings, *warnings)
    first = iter([obj])  # is changed below, and read anew for a second attempt

    def make(_: Any) -> Any:
        made = next(first, None) or bodies.object_of(request, row).object
        metadata.place(made.metadata, row, target.namespace)
        return made

    who = writer(server, request, target.subresource)
    record, warnings = await change(
        server, target, make, dry=dry(request), unconditional=True, request=request, who=who
    )
    return answer(server, target, request, record, 200, *body.warnings, *warnings)


async def change(
    server: Server,
    target: Target,
    make: Callable[[Any], Any],
    *,
    dry: bool = False,
    unconditional: bool = False,
    as_subresource: str | None = None,
    view: View | None = None,
    request: Request | None = None,
    who: tracking.Who | None = None,
) -> tuple[Record, list[str]]:
    """Read, make, check, write; again if another write came between and the client did not name a revision.

    `as_subresource` is what the strategy is told where that is not the URL's; `view` what webhooks are shown. `make` is
    given the newest state, which is everybody's (known.py), and makes another one of it.
    """
    part = target.subresource if as_subresource is None else as_subresource
    row, strategy = target.resource, strategies.of(target.resource)
    for _ in range(_ATTEMPTS):
        current = await find(server.store, target)
        old = known.typed(row, current)
        new = _wanted(target, make, old)
        named = new.metadata.resource_version
        if isinstance(new, scheduling.PriorityClass):
            await priorities.admit_class(server.store, new)
        defaults.apply(new)
        tracking.changed(row, new, old, who)
        hooks = await server.webhooks.begin(UPDATE, target, request, dry=dry, view=view)
        if hooks is not None:
            new = await hooks.mutated(new, old, _defaults)
        await admission.admit(server.access, request.user if request is not None else None, new, old)
        new.metadata.resource_version = ""
        context, transaction = server.begin()
        try:
            strategy.prepare_update(new, old, part, context)
            strategy.canonicalize(new)
            if row.generation and part != "status" and strategy.changes_generation(new, old):
                new.metadata.generation = old.metadata.generation + 1
            _refuse(row, target.name, validation.update(new, old, part))
            warnings = strategy.warnings(new, old)
            if hooks is not None:
                await hooks.judge(new, old)
                warnings += hooks.warnings
            await server.ledger.admit_change(row, new, part, transaction)
            value = known.encoded(row, new)
            if value != unstamp(current) and _only_times(row, new, old, current):
                value, new = unstamp(current), old
            if dry:
                record = Record(current.key, stamp(value, current.revision), current.created, current.revision)
            elif value == unstamp(current) or (isinstance(new, Unstructured) and new.same(old)):
                record = current
            elif finished(new):
                record = await gone(server, row, new, current)
            else:
                durable = row.plural not in _VOLATILE
                record = await stored(server.store.update(current.key, value, current.revision, durable=durable))
                server.fresh.add(record, new)
        except Conflict:
            transaction.rollback()
            if named and unconditional:
                raise status.conflict(row.group, row.plural, target.name) from None
            continue
        except BaseException:
            transaction.rollback()
            raise
        if dry:
            transaction.rollback()
        transaction.commit()
        await settled(server, row, dry=dry)
        return record, warnings
    raise status.conflict(row.group, row.plural, target.name)


def _wanted(target: Target, make: Callable[[Any], Any], old: Any) -> Any:
    """What is to become of an object. ApiError 400 or 409 if that is not this object, or not of this state."""
    row, new = target.resource, make(old)
    named = new.metadata.resource_version
    if named and named != old.metadata.resource_version:
        raise status.conflict(row.group, row.plural, target.name)
    if new.metadata.uid:
        metadata.check_preconditions(old, row, new.metadata.uid, "")
    if new.metadata.name != old.metadata.name or new.metadata.namespace != old.metadata.namespace:
        raise status.bad_request("the name of the object and its namespace cannot be changed")
    metadata.carry(new, old)
    return new


async def _defaults(obj: Any) -> None:
    """All that the server itself adds to an object that changes."""
    defaults.apply(obj)


def _only_times(row: Resource, new: Any, old: Any, current: Record) -> bool:
    """Whether nothing is new about an object but the times of its managedFields."""
    kept, now = old.metadata.managed_fields, new.metadata.managed_fields
    if not kept or not now or now == kept:
        return False
    other = codec.replace(new, metadata=replace(new.metadata, managed_fields=kept))
    return known.encoded(row, other) == unstamp(current) and tracking.same_but_times(now, kept)


async def gone(server: Server, row: Resource, obj: Any, current: Record) -> Record:
    """Takes an object out of the store and gives back what it held. store.base.Conflict if it has changed."""
    record = await stored(server.store.delete(current.key, current.revision))
    context, transaction = server.begin()
    strategies.of(row).after_delete(obj, context)
    transaction.commit()
    if isinstance(obj, core.Service):
        await _endpoints_too(server, obj)
    await settled(server, row)
    return record


async def settled(server: Server, row: Resource, *, dry: bool = False) -> None:
    """After a write of a CustomResourceDefinition: what it defines is served, or no more."""
    if row.module == "apiextensions" and not dry:
        await definitions.settle(server)


async def _endpoints_too(server: Server, service: core.Service) -> None:
    """E49: the Endpoints of a Service go with it.

    The Service is gone by then: that this fails (no room on the disk) must not be told as if it were still there; the
    controller removes them later (E8).
    """
    row = resources.of(core.Endpoints)
    with contextlib.suppress(Conflict, status.ApiError):
        current = await server.store.get(row.key(service.metadata.namespace, service.metadata.name))
        if current is not None:
            await stored(server.store.delete(current.key, current.revision))


def finished(obj: Any) -> bool:
    """Whether nothing holds back the deletion of an object any more."""
    found = obj.metadata
    if not found.deletion_timestamp or found.finalizers or found.deletion_grace_period_seconds:
        return False
    return not (isinstance(obj, core.Namespace) and obj.spec.finalizers)
