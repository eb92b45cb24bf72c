"""get and list: stored bytes, sent as they are. Called by app.py."""

from __future__ import annotations

import base64
import binascii
import itertools
from typing import TYPE_CHECKING

import msgspec

from skerry.api import codec, status
from skerry.api.custom import CustomResource
from skerry.api.numerals import whole
from skerry.api.wire import Pieces, Response, batches
from skerry.apiserver import known, listoptions, representation
from skerry.apiserver.representation import Form
from skerry.apiserver.selection import Selection
from skerry.store.base import Compacted

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server
    from skerry.clock import Clock
    from skerry.store.base import Page, Record, Store

_LONG = 1 << 20
"""Bytes above which a list is sent in pieces."""
_STEP = 2000
"""Records looked through at once for a page of those that are selected."""


class _Continue(msgspec.Struct):
    revision: int
    after: str


async def find(store: Store, target: Target) -> Record:
    """The record of an object. ApiError 404."""
    row = target.resource
    record = await store.get(row.key(target.namespace, target.name))
    if record is None:
        raise status.not_found(row.group, row.plural, target.name)
    return record


async def get(store: Store, clock: Clock, target: Target, request: Request) -> Response:
    record = await find(store, target)
    form = representation.wanted(request.headers.get("accept", ""))
    include = request.query.get("includeObject", "")
    return Response(200, representation.one(form, target.resource, record, clock.now(), include))


async def list_(server: Server, target: Target, request: Request) -> Response:
    """A list in the wanted form; with `limit`, a page and the token for the next one."""
    row = target.resource
    selection = Selection(row, request.query)
    records, revision, token, remaining = await select(server, target, selection, request.query)
    extra = f',"continue":"{token}"' if token else ""
    if remaining and selection.everything:
        extra += f',"remainingItemCount":{remaining}'
    form = representation.wanted(request.headers.get("accept", ""))
    if form is Form.TABLE:
        include = request.query.get("includeObject", "")
        return Response(200, representation.table(row, records, server.clock.now(), include, revision, extra))
    if form is Form.METADATA:
        head = b'{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":'
        values = [representation.partial(known.value(row, one)) for one in records]
    else:
        head = b'{"kind":"%b","apiVersion":"%b","metadata":' % (row.list_kind.encode(), row.api_version.encode())
        custom = isinstance(row, CustomResource)
        values = [known.value(row, one) if custom else one.value for one in records]
    meta = f'{{"resourceVersion":"{revision}"{extra}}},"items":['.encode()
    return Response(200, _joined(head + meta, values))


def _joined(head: bytes, values: list[bytes]) -> bytes | Pieces:
    """A list; a long one in pieces, or a few slow readers of 100,000 pods would hold gigabytes."""
    size = len(head) + sum(map(len, values)) + max(0, len(values) - 1) + 2
    if size < _LONG:
        return b"".join((head, b",".join(values), b"]}"))
    heads = itertools.chain((head,), itertools.repeat(b","))
    middle = (first + b",".join(some) for first, some in zip(heads, batches(values, len), strict=False))
    return Pieces(size, itertools.chain(middle, (b"]}",)))


async def select(
    server: Server, target: Target, selection: Selection, query: dict[str, str]
) -> tuple[list[Record], int, str, int]:
    """The records that a list wants, the revision, the continue token and how many objects remain behind it."""
    row, store = target.resource, server.store
    prefix = row.key(target.namespace, "") if target.namespace else row.prefix
    limit = _number(query, "limit")
    token = query.get("continue", "")
    after, revision = "", _exact(store, query)
    if token:
        place = _decode(token)
        after, revision = prefix + place.after, place.revision
    name = selection.name()
    if name and target.namespace and not token:
        record = await store.get(row.key(target.namespace, name))
        return ([record] if record and selection.matches(record) else []), store.revision, "", 0
    keys = None if token or revision else await server.labels.find(row.prefix, selection.labels)
    if keys is not None:
        likely = [await store.get(key) for key in keys if key.startswith(prefix)]
        chosen = [one for one in likely if one is not None and selection.matches(one)]
        if not limit or len(chosen) <= limit:
            return chosen, store.revision, "", 0
        return chosen[:limit], store.revision, _token(prefix, chosen[:limit], store.revision), 0
    found: list[Record] = []
    step = 0 if not limit else limit if selection.everything else max(limit, _STEP)
    while True:
        page = await _page(store, prefix, after, step, revision, token)
        revision = page.revision
        for record in selection.likely(page.records):
            if not selection.matches(record):
                continue
            if limit and len(found) == limit:
                return found, revision, _token(prefix, found, revision), 0
            found.append(record)
        if not page.remaining:
            return found, revision, "", 0
        if selection.everything:
            return found, revision, _token(prefix, found, revision), page.remaining
        after = page.records[-1].key


def _token(prefix: str, found: list[Record], revision: int) -> str:
    """Where the page after these begins."""
    place = _Continue(revision, found[-1].key[len(prefix) :])
    return base64.urlsafe_b64encode(codec.encode(place)).decode()


async def _page(store: Store, prefix: str, after: str, limit: int, revision: int, token: str) -> Page:
    try:
        return await store.page(prefix, after=after, limit=limit, revision=revision)
    except Compacted as error:
        raise status.gone(
            "The provided continue parameter is too old to display a consistent list result. You can start a new "
            "list without the continue parameter."
            if token
            else f"The resourceVersion for the provided list is too old: {error.asked} ({error.oldest})"
        ) from None


def _exact(store: Store, query: dict[str, str]) -> int:
    """The revision at which a list must be exact, or 0."""
    listoptions.check_list(query)
    asked = revision_of(query.get("resourceVersion", ""))
    if asked > store.revision:
        raise status.ApiError(504, f"Too large resource version: {asked}, current: {store.revision}")
    return asked if query.get("resourceVersionMatch") == "Exact" else 0


def revision_of(text: str) -> int:
    """A resourceVersion as a number. ApiError 400 if it is none."""
    found = whole(text or "0")
    if found is None:
        raise status.bad_request(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return found


def _number(query: dict[str, str], name: str) -> int:
    text = query.get(name, "")
    found = whole(text or "0")
    if found is None:
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return found


def _decode(token: str) -> _Continue:
    try:
        return codec.decode(_Continue, base64.urlsafe_b64decode(token))
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise status.bad_request(f"continue key is not valid: {error}") from None
