"""Which users a cluster has inside."""

from __future__ import annotations

import pytest

from skerry.cluster import idmap
from skerry.cluster.idmap import Facts, IdMap
from skerry.cluster.obstacles import NamespaceError

ALL = "         0          0 4294967295\n"
ORDINARY = Facts(
    uid=1000,
    gid=1001,
    user="ada",
    uid_map=ALL,
    gid_map=ALL,
    subuid="bob:100000:65536\nada:165536:65536\n",
    subgid="bob:100000:65536\nada:200000:1000\n",
    tools=True,
)


def test_root_shows_every_user_as_itself() -> None:
    facts = ORDINARY._replace(uid=0, gid=0, user="root", tools=False)
    assert idmap.plan(facts) == IdMap(((0, 0, 4294967295),), ((0, 0, 4294967295),))


def test_root_of_a_container_shows_the_users_that_exist_there() -> None:
    facts = ORDINARY._replace(uid=0, gid=0, uid_map="0 1000 1\n1 100000 65536\n", gid_map="0 1000 1")
    assert idmap.plan(facts) == IdMap(((0, 0, 1), (1, 1, 65536)), ((0, 0, 1),))


def test_an_ordinary_user_is_root_inside_and_lends_its_ranges() -> None:
    assert idmap.plan(ORDINARY) == IdMap(
        ((0, 1000, 1), (1, 165536, 65536)), ((0, 1001, 1), (1, 200000, 1000)), tools=True
    )


def test_ranges_by_number_and_several_of_them() -> None:
    text = "# comment\n1000:5000:10\nada:7000:20\nada:nonsense\nada:1:0\n"
    facts = ORDINARY._replace(subuid=text, subgid=text)
    assert idmap.plan(facts).uids == ((0, 1000, 1), (1, 5000, 10), (11, 7000, 20))


def test_without_newuidmap_the_cure_is_named() -> None:
    facts = ORDINARY._replace(tools=False)
    with pytest.raises(NamespaceError, match=r"newuidmap and newgidmap are not installed.*sudo apt install uidmap"):
        idmap.plan(facts)
    assert idmap.plan(facts, allow_single=True) == IdMap(((0, 1000, 1),), ((0, 1001, 1),), single=True)


def test_without_ranges_the_cure_is_named() -> None:
    facts = ORDINARY._replace(subgid="")
    with pytest.raises(NamespaceError, match=r"ada has no range in /etc/subgid.*usermod --add-subuids .* ada`"):
        idmap.plan(facts)
    assert idmap.plan(facts, allow_single=True).single
