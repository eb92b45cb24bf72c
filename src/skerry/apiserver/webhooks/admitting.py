"""Runs an operation past all webhooks that want to see it. Called by verbs.py, deletion.py and subresources.py.

Configurations are compiled when they change: an operation that nobody wants to see costs two looks at the store's
events. Those that change objects are asked one after the other in the order of their names, those that only judge all
at once, when the object is what will be stored.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from skerry.api import codec, defaults, resources, status
from skerry.api.custom import CustomResource
from skerry.api.patch.base import copied
from skerry.api.types import admissionregistration as registration
from skerry.api.types import core
from skerry.api.wire import Request
from skerry.apiserver import bodies, known
from skerry.apiserver.access.follow import Follow
from skerry.apiserver.webhooks import calling, reviews
from skerry.apiserver.webhooks.matching import CREATE, UPDATE, Hook, Operation, exempt, labels_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from skerry.api.resources import Resource
    from skerry.apiserver.podparts import NodeStreams
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server
    from skerry.store.base import Record, Store

_log = logging.getLogger(__name__)
_LENIENT = Request("", "", {"fieldValidation": "Ignore"})
_OPTIONS = ("fieldManager", "fieldValidation")
_Plain = dict[str, Any]
_Asked = list[tuple[Hook, str]]


class View(NamedTuple):
    """A part of an object that is shown instead of the whole: `read` makes the part, `write` an object with another."""

    kind: tuple[str, str, str]
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]


class _Configured:
    """The webhooks of all configurations of a kind, in the order in which they are asked."""

    def __init__(self, store: Store, row: Resource) -> None:
        self._follow = Follow(store, row, self)
        self._by_name: dict[str, list[Hook]] = {}
        self.hooks: list[Hook] = []
        self.catch_up = self._follow.catch_up

    def reset(self, row: Resource) -> None:  # noqa: ARG002
        """See follow.Sees."""
        self._by_name.clear()
        self.hooks = []

    def changed(self, row: Resource, record: Record, *, gone: bool) -> None:
        """See follow.Sees."""
        name = record.key[len(row.prefix) :]
        self._by_name.pop(name, None)
        if not gone:
            found = codec.decode(row.type, record.value)
            self._by_name[name] = [Hook.of(name, one) for one in found.webhooks]
        self.hooks = [hook for _, hooks in sorted(self._by_name.items()) for hook in hooks]


class Webhooks:
    """All webhooks of a server. `nodes` is the way to those that are pods."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.nodes: NodeStreams | None = None
        self._mutating = _Configured(server.store, resources.of(registration.MutatingWebhookConfiguration))
        self._validating = _Configured(server.store, resources.of(registration.ValidatingWebhookConfiguration))
        self._known: dict[tuple[str, str, str, str, str], tuple[_Asked, _Asked]] = {}
        self._state: tuple[list[Hook], list[Hook], tuple[CustomResource, ...]] = ([], [], ())

    async def any(self) -> bool:
        """Whether there are webhooks at all."""
        await self._mutating.catch_up()
        await self._validating.catch_up()
        return bool(self._mutating.hooks or self._validating.hooks)

    async def begin(
        self,
        verb: str,
        target: Target,
        request: Request | None,
        *,
        dry: bool = False,
        kind: tuple[str, str, str] | None = None,
        options: _Plain | None = None,
        view: View | None = None,
    ) -> Admission | None:
        """Who wants to see this operation; None if nobody does. `request` is None for what the server does itself.

        `kind` is (group, version, kind) of what they are shown if that is no whole object of the target's kind.
        """
        if not await self.any() or request is None or request.user is None:
            return None
        mutating, validating = self._wanted(verb, target)
        if not (mutating or validating):
            return None
        if options is None:
            options = {name: request.query[name] for name in _OPTIONS if request.query.get(name)}
        shown = view.kind if view is not None else kind
        operation = Operation(verb, target, request.user, dry, shown, options)
        return Admission(self._server, operation, mutating, validating, view)

    def _wanted(self, verb: str, target: Target) -> tuple[_Asked, _Asked]:
        """Whose rules name this: worked out once, until a configuration or what is served is another."""
        row = target.resource
        state = self._mutating.hooks, self._validating.hooks, self._server.served.rows
        if any(one is not other for one, other in zip(state, self._state, strict=True)):
            self._known.clear()
            self._state = state
        key = verb, row.group, row.version, row.plural, target.subresource
        found = self._known.get(key)
        if found is None:
            others = self._versions(row)
            shown = ([], []) if exempt(row.group) else state[:2]
            mutating, validating = (
                [(hook, seen) for hook in hooks if (seen := hook.version(verb, target, others)) is not None]
                for hooks in shown
            )
            found = self._known[key] = mutating, validating
        return found

    async def shown(
        self,
        verb: str,
        target: Target,
        request: Request,
        obj: msgspec.Struct,
        kind: tuple[str, str, str],
        *,
        dry: bool = False,
    ) -> tuple[Any, tuple[str, ...]]:
        """What becomes of an object that is sent to a part of another, and warnings. ApiError if it is refused."""
        hooks = await self.begin(verb, target, request, dry=dry, kind=kind)
        if hooks is None:
            return obj, ()
        group, version, name = kind
        head = {"kind": name, "apiVersion": f"{group}/{version}" if group else version}
        plain = await hooks.mutate({**codec.plain(obj), **head}, None)
        await hooks.validate(plain, None)
        return _typed(type(obj), plain), tuple(hooks.warnings)

    def _versions(self, row: Resource) -> tuple[str, ...]:
        """Others in which a custom kind is served."""
        if not isinstance(row, CustomResource):
            return ()
        same = (one for one in self._server.served.rows if (one.group, one.plural) == (row.group, row.plural))
        return tuple(one.version for one in same if one.version != row.version)


def _typed(kind: type[Any], plain: _Plain | None) -> Any:
    """ApiError 500 for what a webhook has made of an object if that is none of its kind."""
    try:
        return codec.convert(kind, plain)
    except msgspec.ValidationError as error:
        raise status.ApiError(500, f"Internal error occurred: {error}") from None


class Admission:
    """One operation, and who is asked about it. `warnings` is what they want the client to be told."""

    def __init__(
        self, server: Server, operation: Operation, mutating: _Asked, validating: _Asked, view: View | None = None
    ) -> None:
        self._server, self._operation, self._view = server, operation, view
        self._mutating, self._validating = mutating, validating
        self.warnings: list[str] = []

    async def mutated(self, obj: Any, old: Any | None, again: Callable[[Any], Awaitable[None]]) -> Any:
        """What becomes of a typed object; `again` is what the server itself adds to one. ApiError if it is refused.

        A new object is shown as it was sent: without a generated name, uid and time.
        """
        if not self._mutating:
            return obj
        if self._view is not None:
            part = self._view.read(obj)
            changed = await self.mutate(codec.plain(part), codec.plain(self._view.read(old)))
            return self._view.write(obj, _typed(type(part), changed))
        before = self._plain(obj, old)

        async def settle(plain: _Plain) -> _Plain:
            made = self._back(plain, obj)
            await again(made)
            return self._plain(made, old)

        after = await self.mutate(before, codec.plain(old) if old is not None else None, settle)
        if after is None or after == before:
            return obj
        made = self._back(after, obj)
        defaults.apply(made)
        return made

    async def judge(self, obj: Any, old: Any | None) -> None:
        """Shows a typed object, just before it is stored, to those who may refuse it. ApiError if one does."""
        if self._validating:
            if not self._operation.target.name:
                named = self._operation.target._replace(name=obj.metadata.name)
                self._operation = dataclasses.replace(self._operation, target=named)
            read = self._view.read if self._view is not None else lambda whole: whole
            await self.validate(codec.plain(read(obj)), codec.plain(read(old)) if old is not None else None)

    def _plain(self, obj: Any, old: Any | None) -> _Plain:
        plain: _Plain = codec.plain(obj)
        if old is None:
            found = plain["metadata"] = dict(plain["metadata"])
            for name in ("uid", "creationTimestamp", "generation"):
                found.pop(name, None)
            if not self._operation.target.name:
                found.pop("name", None)
        return plain

    def _back(self, plain: _Plain, obj: Any) -> Any:
        """A typed object again, with the metadata that no webhook may change."""
        row, kept = self._operation.target.resource, obj.metadata
        value = {**copied(plain), "kind": row.kind, "apiVersion": row.api_version}
        try:
            made = bodies.of_row(row, value, _LENIENT, []).object
        except status.ApiError as error:
            raise status.ApiError(500, f"Internal error occurred: {error.message}") from None
        for name in (
            "name", "namespace", "uid", "resource_version", "generation", "creation_timestamp", "deletion_timestamp",
            "deletion_grace_period_seconds", "managed_fields",
        ):  # fmt: skip
            setattr(made.metadata, name, getattr(kept, name))
        return made

    async def mutate(
        self, new: _Plain | None, old: _Plain | None, settle: Callable[[_Plain], Awaitable[_Plain]] | None = None
    ) -> _Plain | None:
        """What becomes of a plain object.

        Those who want to see it again do once, if it was changed after they saw it: by another, or by `settle`.
        """
        first, due = new, set[Hook]()
        unaware = set[Hook]()
        for hook, version in self._mutating:
            if not await self._selects(hook, new, old):
                continue
            made = await self._change(hook, version, new, old)
            if made != new:
                new, due, unaware = made, due | unaware, set()
            if hook.again:
                unaware.add(hook)
        if new == first:
            return new
        if settle is not None and new is not None:
            settled = await settle(new)
            if settled != new:
                new, due = settled, due | unaware
        for hook, version in self._mutating:
            if hook in due and await self._selects(hook, new, old):
                new = await self._change(hook, version, new, old)
        return new

    async def _change(self, hook: Hook, version: str, new: _Plain | None, old: _Plain | None) -> _Plain | None:
        verdict = await self._ask(hook, version, new, old, mutating=True)
        return reviews.patched(hook, new, verdict.patch) if verdict is not None and verdict.patch else new

    async def validate(self, new: _Plain | None, old: _Plain | None) -> None:
        """ApiError of the first, in their order, that refuses a plain object; all are asked."""
        asked = [one for one in self._validating if await self._selects(one[0], new, old)]
        answers = await asyncio.gather(
            *(self._ask(hook, version, new, old, mutating=False) for hook, version in asked), return_exceptions=True
        )
        for one in answers:
            if isinstance(one, BaseException):
                if isinstance(one, status.ApiError):
                    one.warnings = tuple(self.warnings)
                raise one

    async def _ask(
        self, hook: Hook, version: str, new: _Plain | None, old: _Plain | None, *, mutating: bool
    ) -> reviews.Verdict | None:
        """What it says; None if it could not be asked, and that does not matter. ApiError if it refuses."""
        uid = str(uuid.uuid4())
        body = reviews.request(hook, self._operation, version, uid, new, old)
        try:
            verdict = reviews.verdict(hook, uid, await calling.call(self._server, hook, body), mutating=mutating)
        except reviews.CallError as error:
            if not hook.ignores:
                raise self._refused(reviews.failed(hook, error)) from None
            _log.warning("the webhook %s of %s is passed over: %s", hook.name, hook.configuration, error)
            return None
        self.warnings += verdict.warnings
        if not verdict.allowed:
            raise self._refused(reviews.refusal(hook, verdict.status))
        return verdict

    def _refused(self, error: status.ApiError) -> status.ApiError:
        error.warnings = tuple(self.warnings)
        return error

    async def _selects(self, hook: Hook, new: _Plain | None, old: _Plain | None) -> bool:
        in_one = self._operation.namespace or self._operation.of_namespaces
        if hook.namespaces and in_one and not hook.namespaces.matches(await self._namespace(new)):
            return False
        return hook.selects(new, old)

    async def _namespace(self, new: _Plain | None) -> dict[str, str]:
        """The labels by which namespaces are selected."""
        operation = self._operation
        if operation.of_namespaces and operation.verb in (CREATE, UPDATE) and not operation.target.subresource:
            return labels_of(new or {"metadata": {}})
        row = resources.of(core.Namespace)
        record = await self._server.store.get(row.key("", operation.namespace))
        return known.head(record).labels if record is not None else {}
