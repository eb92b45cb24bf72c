"""Carries connections and datagrams on in user space: tcp.py and udp.py, led by a guide (guide.py).

Called by hostports.py (from the host's loopback into the cluster) and by the userspace back end.
"""
