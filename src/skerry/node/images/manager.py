"""What the node agent asks for an image: `ensure` looks, pulls if it must, and says what happens in the pod's events.

Pulls of one image, and of one layer by several images, are shared. Fetching is asyncio; unpacking runs in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

from skerry.node.images import archive, keyring, manifest, reference, removal
from skerry.node.images.errors import ImageError, pull_failed
from skerry.node.images.http import HttpError
from skerry.node.images.store import Image, Record, Store

if TYPE_CHECKING:
    from skerry.clock import Clock
    from skerry.node.images.keyring import Credentials
    from skerry.node.images.manifest import Descriptor
    from skerry.node.images.reference import Reference
    from skerry.node.images.registry import Found, Registry

OnEvent = Callable[[Literal["Normal", "Warning"], str, str], None]
_Result = TypeVar("_Result")

PARALLEL_LAYERS = 3


class Images:
    """The images of a node. `close` it at the end."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self.store = store
        self._registry, self._clock = registry, clock
        self.changed = asyncio.Event()
        """Set when an image came; whoever heeds it clears it."""
        self._running: dict[object, asyncio.Task[Any]] = {}
        self._slots = asyncio.Semaphore(PARALLEL_LAYERS)
        self._threads = ThreadPoolExecutor(PARALLEL_LAYERS, thread_name_prefix="unpack")

    async def close(self) -> None:
        """Gives up what is being pulled."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.store.close()

    async def ensure(
        self, name: str, pull_policy: str, on_event: OnEvent, accounts: Sequence[Credentials] = ()
    ) -> Image:
        """The image `name`, on this disk. `pull_policy`: Always, IfNotPresent, Never or "" for the default by its tag.

        An image that was loaded by hand is never asked for in a registry. One that came with somebody's password is
        only for who has that too. `accounts` are tried one after another. ImageError if there is none to be had.
        Events: Pulling, Pulled, Failed, ErrImageNeverPull, InspectFailed; `Error: <reason>` and the back-off are the
        caller's.
        """
        try:
            wanted = reference.parse(name)
        except ImageError as error:
            on_event("Warning", "InspectFailed", error.message)
            raise
        if not pull_policy:
            pull_policy = "Always" if wanted.tag == reference.DEFAULT_TAG and not wanted.digest else "IfNotPresent"
        here = self.store.find(wanted)
        if here is not None and (pull_policy != "Always" or here[0].loaded) and _may_use(here[0], accounts):
            self.store.used(wanted.key)
            text = f'Container image "{name}" already present on machine and can be accessed by the pod'
            on_event("Normal", "Pulled", text)
            return here[1]
        if pull_policy == "Never":
            text = f'Container image "{name}" is not present with pull policy of Never'
            if here is not None:
                text = (
                    f'Container image "{name}" is present with pull policy of Never but does not have the proper '
                    "credentials to access the image"
                )
            on_event("Warning", "ErrImageNeverPull", text)
            raise ImageError("ErrImageNeverPull", text)
        on_event("Normal", "Pulling", f'Pulling image "{name}"')
        started = self._clock.monotonic()
        try:
            image = await self._pull_as(wanted, accounts)
        except ImageError as error:
            on_event("Warning", "Failed", f'Failed to pull image "{name}": {error.message}')
            raise
        took = _duration(self._clock.monotonic() - started)
        text = (
            f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {image.size} bytes.'
        )
        on_event("Normal", "Pulled", text)
        return image

    async def load(self, file: str | IO[bytes]) -> list[str]:
        """Takes in a docker or OCI archive (a path or an open file); the names it gave. ImageError if it is none."""
        loop = asyncio.get_running_loop()
        opened = contextlib.nullcontext(file) if not isinstance(file, str) else _opened(file)
        added: list[str] = []
        with opened as stream, contextlib.closing(archive.Archive(stream)) as source:
            images = await loop.run_in_executor(self._threads, source.images)
            try:
                return [name for found in images for name in await self._load(source, found, added)]
            except ImageError:
                # Of an archive that is refused nothing stays; another image may need some of it meanwhile.
                await loop.run_in_executor(self._threads, removal.sweep, self.store, self._clock.now(), added)
                raise

    async def _load(self, source: archive.Archive, found: archive.Found, added: list[str]) -> list[str]:
        """Takes in one image; its names. `added`: gets the layers that were not here before."""
        loop = asyncio.get_running_loop()
        _, diffs = manifest.read_config(found.config)
        if len(diffs) != len(found.layers):
            raise pull_failed(f"the archive has {len(found.layers)} layers, the image's config {len(diffs)}")
        wanted = [reference.parse(name) for name in found.names]
        for diff_id, layer in zip(diffs, found.layers, strict=True):
            async with self.store.locked(diff_id):
                if not self.store.has_layer(diff_id):
                    added.append(diff_id)
                    await loop.run_in_executor(self._threads, self._add_from, source, layer, diff_id)
        for one in wanted:
            digest = manifest.digest_of(found.config)
            record = Record(one.key, one.name, "", digest, diffs, found.size, loaded=True)
            self.store.put(one, record, found.config)
        self.changed.set()
        return [str(one) for one in wanted]

    def _add_from(self, source: archive.Archive, layer: str, diff_id: str) -> None:
        self.store.add_layer(diff_id, source.open(layer))

    async def _pull_as(self, wanted: Reference, accounts: Sequence[Credentials]) -> Image:
        """Tries the accounts in turn; without any, as nobody."""
        reasons = []
        for one in accounts or (None,):
            try:
                return await self._shared((wanted.key, one), functools.partial(self._pull, wanted, one))
            except ImageError as error:
                reasons.append(error.message)
        raise pull_failed("; ".join(dict.fromkeys(reasons)))

    async def _pull(self, wanted: Reference, credentials: Credentials | None) -> Image:
        try:
            found = await self._registry.resolve(wanted, credentials)
            here = self.store.find_digest(wanted, found.digest)
            if here is not None:
                return self._opened_to(wanted, here, credentials)
            raw = await self._registry.document(found, wanted, found.manifest.config, credentials)
            _, diffs = manifest.read_config(raw)
            layers = found.manifest.layers
            if len(diffs) != len(layers):
                raise pull_failed(f"the manifest has {len(layers)} layers, the image's config {len(diffs)}")
            pulls = [
                asyncio.create_task(self._layer(found, wanted, layer, diff_id, credentials))
                for layer, diff_id in zip(layers, diffs, strict=True)
            ]
            try:
                await asyncio.gather(*pulls)
            finally:
                for pull in pulls:
                    pull.cancel()
        except HttpError as error:
            raise pull_failed(str(error)) from None
        except OSError as error:
            raise pull_failed(f"the image store: {error.strerror or error}") from None
        size = found.manifest.config.size + sum(layer.size for layer in layers)
        digests = list(dict.fromkeys((found.digest, found.platform_digest)))
        record = Record(wanted.key, wanted.name, found.digest, found.manifest.config.digest, diffs, size, digests)
        self.changed.set()
        return self.store.put(wanted, replace(record, access=_marks(credentials)), raw)

    def _opened_to(self, wanted: Reference, here: tuple[Record, Image], credentials: Credentials | None) -> Image:
        """What is here already, for one more who could have pulled it."""
        record, image = here
        access = sorted({*record.access, *_marks(credentials)}) if record.access and credentials else []
        if access != record.access:
            self.store.put(wanted, replace(record, access=access), self.store.config(record))
        return image

    async def _layer(
        self, found: Found, wanted: Reference, layer: Descriptor, diff_id: str, credentials: Credentials | None
    ) -> None:
        if not self.store.has_layer(diff_id):
            await self._shared(diff_id, lambda: self._fetch(found, wanted, layer, diff_id, credentials))

    async def _fetch(
        self, found: Found, wanted: Reference, layer: Descriptor, diff_id: str, credentials: Credentials | None
    ) -> None:
        async with self._slots, self.store.locked(diff_id):
            if self.store.has_layer(diff_id):  # another node was quicker
                return
            path = self.store.scratch_file()
            try:
                with open(path, "wb", buffering=0) as file:  # noqa: ASYNC230 - local and in small pieces
                    async for chunk in self._registry.blob(found, wanted, layer, credentials):
                        file.write(chunk)
                await asyncio.get_running_loop().run_in_executor(self._threads, self._unpack, path, diff_id)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _unpack(self, path: str, diff_id: str) -> None:
        with open(path, "rb", buffering=0) as file:
            self.store.add_layer(diff_id, file)

    async def _shared(self, key: object, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """One run of `work` for all who ask for `key` meanwhile; it goes on when an asker gives up."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._finished(key, done))
        found: _Result = await asyncio.shield(task)
        return found

    def _finished(self, key: object, task: asyncio.Task[Any]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits any more


def _marks(credentials: Credentials | None) -> list[str]:
    return [keyring.mark(credentials)] if credentials is not None else []


def _may_use(record: Record, accounts: Sequence[Credentials]) -> bool:
    return not record.access or any(keyring.mark(one) in record.access for one in accounts)


def _opened(path: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise pull_failed(f"cannot read {path}: {error.strerror}") from None


def _duration(seconds: float) -> str:
    """Seconds as upstream writes durations: 412ms, 1.234s."""
    return f"{round(seconds * 1000)}ms" if seconds < 1 else f"{seconds:.3f}s".replace(".000s", "s")
