"""Pods and containers as processes: what the node agent asks for (client.py) and who does it (spawner.py).

Nothing is imported here: the spawner must stay small.
"""
