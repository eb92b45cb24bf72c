"""Answers for the balancers' addresses that fall to this node, on the interfaces that it was given.

Started by cluster/kubeproxy.py once the service table is in the kernel, so that whoever comes is served. Announcers
know each other by hellos on the network itself: neither the API server nor an election is in the way of a take-over.
One that begins listens first, for as long as a dead one is waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from skerry import metrics
from skerry.api.types import core, discovery
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.clock import Clock, Timer
from skerry.metrics import Counter, Gauge
from skerry.netlink.notices import AddressNotices
from skerry.netlink.route import Routes
from skerry.proxy.announce import frames, services
from skerry.proxy.announce.holders import HELLO, SILENT, Heard, holder
from skerry.proxy.announce.interface import Interface

_log = logging.getLogger(__name__)

_AGAIN = (0.3, 1.0, 2.0)
"""Seconds after which a claim is repeated: frames get lost."""
_DEFEND = 0.3
"""Seconds after which somebody else's claim is answered: a hello may be on its way that says that it is right."""
_SERVICE = "kubernetes.io/service-name"


class Announcer:
    """`await start()`, then it answers until `stop`. `able`: may this node hold addresses, as far as its proxy knows?

    `registry`: where it counts, under the names of MetalLB's speaker.
    """

    def __init__(
        self,
        informers: Informers,
        clock: Clock,
        recorder: Recorder,
        node: core.Node,
        interfaces: Sequence[str],
        registry: metrics.Registry,
        able: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock, self._recorder, self._able = clock, recorder, able
        self._name, self._member = node.metadata.name, frames.member(node.metadata.uid)
        self._services = informers.of(core.Service)
        self._slices = informers.of(discovery.EndpointSlice)
        self._nodes = informers.of(core.Node)
        self._interfaces = [Interface(one, self._receive) for one in interfaces]
        self._heard = {one.name: Heard() for one in self._interfaces}
        self._held: dict[str, set[str]] = {one.name: set() for one in self._interfaces}
        self._members: dict[bytes, str] = {}
        self._own: frozenset[str] = frozenset()
        self._taken: frozenset[str] = frozenset()
        self._book = services.Book()
        self._disputed: set[tuple[str, str]] = set()
        self._timers: set[Timer] = set()
        self._listening_until = self._last_tick = 0.0
        self._was_able = self._stopped = False
        self._notices: AddressNotices | None = None
        labels = ["service", "protocol", "node", "ip"]
        self._announced = registry.add(Gauge("metallb_speaker_announced", "Addresses that this node holds", labels))
        self._requests = _counter(registry, "requests_received", "Requests for addresses that this node holds")
        self._responses = _counter(registry, "responses_sent", "Answers to those")
        self._gratuitous = _counter(registry, "gratuitous_sent", "Claims that nobody had asked for")

    async def start(self) -> None:
        """Returns when it has begun to listen; needs informers that run."""
        for one in (self._services, self._slices, self._nodes):
            await one.synced()
        self._slices.add_index(_SERVICE, _service_of)
        for interface in self._interfaces:
            if not interface.look():
                _log.warning("interface %s is not there: nothing is announced on it", interface.name)
        self._listening_until = self._clock.monotonic() + SILENT
        self._look_at_addresses()
        self._notices = AddressNotices(self._look_at_addresses)
        self._nodes.subscribe(self._node)
        self._services.subscribe(self._service)
        self._slices.subscribe(self._slice)
        self._last_tick = self._clock.monotonic()
        self._tick()

    def stop(self) -> None:
        """Leaves everything to the others, and tells them."""
        if self._stopped:
            return
        self._stopped, self._was_able = True, False
        for timer in self._timers:
            timer.cancel()
        if self._notices is not None:
            self._notices.close()
        for interface in self._interfaces:
            if interface.open:
                interface.send(frames.hello(interface.mac, self._member, able=False))
            interface.close()
            self._held[interface.name].clear()

    def held(self, interface: str) -> frozenset[str]:
        """The addresses that this node answers for on an interface."""
        return frozenset(self._held[interface])

    # What happens.

    def _tick(self) -> None:
        """Says that we live, and sees who does not."""
        if self._stopped:
            return
        now = self._clock.monotonic()
        if now - self._last_tick >= SILENT:  # we were hung: others hold what was ours
            _log.warning("this announcer was not running for %.1f s", now - self._last_tick)
            self._listening_until = now + HELLO
        self._last_tick = now
        changed = False
        for interface in self._interfaces:
            changed |= interface.look()
            changed |= self._heard[interface.name].expire(now)
        able = self._is_able()
        changed |= able is not self._was_able
        self._was_able = able
        for interface in self._interfaces:
            if interface.open:
                interface.send(frames.hello(interface.mac, self._member, interface.networks, able=able))
        if changed:
            self._decide(self._book.all())
        ends = [found for one in self._heard.values() if (found := one.next()) is not None]
        if now < self._listening_until:
            ends.append(self._listening_until)
        self._later(max(0.0, min([now + HELLO, *ends]) - now), self._tick)

    def _is_able(self) -> bool:
        return self._clock.monotonic() >= self._listening_until and self._member in self._members and self._able()

    def _receive(self, interface: Interface, frame: bytes) -> None:
        hello = frames.read_hello(frame)
        if hello is not None:
            self._hello(interface, hello)
            return
        found = frames.read(frame, interface.mac)
        if found is None or found.address not in self._held[interface.name]:
            return
        if isinstance(found, frames.Asked):
            self._requests.add(1, found.address)
            interface.send(frames.answer(found, interface.mac))
            self._responses.add(1, found.address)
            return
        place = (interface.name, found.address)
        if place not in self._disputed:
            self._disputed.add(place)
            self._later(_DEFEND, lambda: self._defend(interface, found))

    def _defend(self, interface: Interface, claimed: frames.Claimed) -> None:
        self._disputed.discard((interface.name, claimed.address))
        if claimed.address in self._held[interface.name]:
            _log.warning("%s claims %s on %s, too", claimed.mac.hex(":"), claimed.address, interface.name)
            self._claim(interface, claimed.address)

    def _hello(self, interface: Interface, hello: frames.Hello) -> None:
        if hello.member == self._member or hello.member not in self._members:
            return
        now = self._clock.monotonic()
        if self._heard[interface.name].hear(hello, now):
            self._decide(self._book.all())
            if hello.able:  # the networks of two may have been apart, with a holder each
                for address in self._held[interface.name]:
                    self._claim(interface, address)

    def _look_at_addresses(self) -> None:
        with Routes() as routes:
            found = routes.addresses()
        self._own = frozenset(text.partition("/")[0] for _, text in found)
        for interface in self._interfaces:
            interface.look_at_addresses(found)
        self._decide(self._book.all())

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        members = {}
        for one in (old, new):
            if one is not None:
                members[frames.member(one.metadata.uid)] = one is new and services.eligible(one)
        changed = False
        for member, may in members.items():
            changed |= may is not (member in self._members)
            if may:
                assert new is not None
                self._members[member] = new.metadata.name
            else:
                self._members.pop(member, None)
        if services.own(old) != services.own(new):
            self._taken = frozenset().union(*map(services.own, self._nodes.list()))
            changed = True
        if changed and not self._stopped:
            self._was_able = self._is_able()
            self._decide(self._book.all())

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        one = new or old
        assert one is not None
        self._decide(self._book.put(key_of(one), new))

    def _slice(self, old: discovery.EndpointSlice | None, new: discovery.EndpointSlice | None) -> None:
        keys = {key for one in (old, new) if one is not None for key in _service_of(one)}
        self._decide(address for key in keys for address in self._book.of(key))

    # What follows.

    def _decide(self, addresses: Iterable[str]) -> None:
        """Takes or leaves each of these addresses."""
        changed = False
        for address in addresses:
            wanted = self._holders(address)
            before = any(address in one for one in self._held.values())
            for interface in self._interfaces:
                held = self._held[interface.name]
                if interface.name in wanted and address not in held:
                    held.add(address)
                    self._take(interface, address)
                    changed = True
                elif interface.name not in wanted and address in held:
                    held.discard(address)
                    _log.info("leaving %s on %s to others", address, interface.name)
                    changed = True
            if wanted and not before:
                text = f'announcing from node "{self._name}" with protocol "layer2"'
                for service in self._book.services(address):
                    self._recorder.event(service, "Normal", "nodeAssigned", text)
        if changed:
            for interface in self._interfaces:
                interface.listen_for(self._held[interface.name])
            self._announced.clear()
            for address in frozenset().union(*self._held.values()):
                for service in self._book.services(address):
                    self._announced.set(1, key_of(service), "layer2", self._name, address)

    def _holders(self, address: str) -> set[str]:
        """The interfaces on which this node is to hold an address."""
        found = self._book.services(address)
        if not found or address in self._own or address in self._taken or not self._was_able:
            return set()
        allowed: frozenset[str] | None = None
        for service in found:
            if services.local(service):
                where = services.nodes_with_endpoints(self._slices.by_index(_SERVICE, key_of(service)))
                allowed = where if allowed is None else allowed & where
        wanted = set()
        for interface in self._interfaces:
            if not interface.open or not interface.has(address):
                continue
            there = {self._members[one] for one in self._heard[interface.name].near(address) if one in self._members}
            there.add(self._name)
            if holder(address, there if allowed is None else there & allowed) == self._name:
                wanted.add(interface.name)
        return wanted

    def _take(self, interface: Interface, address: str) -> None:
        _log.info("announcing %s on %s", address, interface.name)
        self._claim(interface, address)

        def again() -> None:
            if address in self._held[interface.name]:
                self._claim(interface, address)

        for seconds in _AGAIN:
            self._later(seconds, again)

    def _claim(self, interface: Interface, address: str) -> None:
        interface.send(frames.claim(address, interface.mac))
        self._gratuitous.add(1, address)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            call()

        timer = self._clock.call_later(seconds, due)
        self._timers.add(timer)


def _service_of(one: discovery.EndpointSlice) -> list[str]:
    """The key of the Service that a slice belongs to."""
    name = one.metadata.labels.get(_SERVICE)
    return [f"{one.metadata.namespace}/{name}"] if name else []


def _counter(registry: metrics.Registry, name: str, says: str) -> Counter:
    return registry.add(Counter(f"metallb_layer2_{name}", says, ["ip"]))
