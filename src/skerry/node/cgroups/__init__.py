"""Requests and limits of pods in the kernel.

settings.py makes files of amounts (pure), place.py finds where this machine lets us have cgroups, subtree.py claims a
cluster's own, pods.py has those of pods and containers and knows who was killed for want of memory; oom.py guesses that
where there are no cgroups. The control plane claims the subtree before it starts the nodes, the node agents fill it,
and whoever stops, starts or deletes the cluster takes it away.
"""
