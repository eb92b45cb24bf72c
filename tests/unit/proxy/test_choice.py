"""Which backend a client gets in user space (P14, P16, P20, P23), and how long that is remembered."""

from __future__ import annotations

import collections

from tests.unit.proxy.build import NODE

from skerry.proxy.table import Backend
from skerry.proxy.userspace import choice
from skerry.proxy.userspace.choice import Door, ServicePort

ONE, TWO, THREE = (Backend(f"10.244.1.{number}", 80) for number in (1, 2, 3))


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_p14_the_choice_is_uniform() -> None:
    port = ServicePort(0, Time())
    found = collections.Counter(port.choose("10.0.0.1", [ONE, TWO, THREE]) for _ in range(30_000))
    # Chi-square with two degrees of freedom: 30 happens once in three million runs.
    assert sum((count - 10_000) ** 2 / 10_000 for count in found.values()) < 30


def test_p23_a_client_keeps_its_backend_until_the_time_out_after_its_last_connection() -> None:
    time = Time()
    port = ServicePort(10, time)
    first = port.choose("10.0.0.1", [ONE])
    for _ in range(20):
        time.now += 9.9
        assert port.choose("10.0.0.1", [ONE, TWO, THREE]) == first
    time.now += 10
    assert {port.choose(f"10.0.0.{number}", [TWO, THREE]) for number in range(1, 40)} == {TWO, THREE}
    assert len(port._records) == 39
    time.now += 10
    port.choose("10.0.1.1", [TWO])
    assert len(port._records) == 1


def test_p23_a_backend_that_left_is_forgotten_even_if_it_comes_back() -> None:
    port = ServicePort(10, Time())
    port.consist_of(frozenset({ONE, TWO}))
    port.choose("10.0.0.1", [ONE])
    port.choose("10.0.0.2", [TWO])
    port.consist_of(frozenset({TWO}))
    port.consist_of(frozenset({ONE, TWO}))
    assert port.choose("10.0.0.1", [TWO]) == TWO  # what it had is no reason to have it again
    assert port.choose("10.0.0.2", [ONE, TWO]) == TWO


def test_not_more_clients_are_remembered_than_there_is_room_for() -> None:
    port = ServicePort(10, Time())
    for number in range(choice.CLIENTS_MAX + 5):
        port.choose(str(number), [ONE])
    assert len(port._records) == choice.CLIENTS_MAX


def test_p16_clients_here_have_a_list_of_their_own_and_what_was_tried_is_left_out() -> None:
    door = Door(NODE)
    assert door.choose("10.0.0.1", ()) is None
    door.lead(ServicePort(0, Time()), [ONE], [TWO])
    assert [door.choose(one, ()) for one in ("192.0.2.1", "10.244.1.77", "10.243.0.2")] == [ONE, TWO, TWO]
    assert door.choose("192.0.2.1", [ONE]) is None
    door.lead(ServicePort(0, Time()), [ONE, TWO], None)
    assert {door.choose("10.244.1.77", [ONE]) for _ in range(10)} == {TWO}


def test_p20_where_sockets_have_no_filters_the_door_checks() -> None:
    door = Door(NODE)
    door.lead(ServicePort(0, Time()), [ONE], None, [("192.0.2.0/24", "10.0.0.0/8"), ("10.244.0.0/16",)])
    answers = [door.choose(one, ()) for one in ("192.0.2.1", "10.244.1.77", "10.1.1.1", "172.16.0.1", "fd00::1")]
    assert answers == [None, ONE, None, None, None]


def test_connections_are_counted_for_the_port_that_the_door_leads_to() -> None:
    door, port = Door(NODE), ServicePort(0, Time())
    door.lead(port, [ONE, TWO], None)
    port.consist_of(frozenset({ONE, TWO}))
    for backend in (ONE, ONE, TWO):
        door.opened(backend)
    assert port.totals == {ONE: 2, TWO: 1}
    port.consist_of(frozenset({TWO}))
    assert port.totals == {TWO: 1}
