"""Balancers' addresses on a network: of the machines that could answer for one, exactly one does, by ARP and NDP.

`frames` reads and writes what goes over the wire, `holders` says who holds an address, `services` which addresses there
are (all pure); `announcer` has the sockets and timers. Started by cluster/kubeproxy.py.
"""
