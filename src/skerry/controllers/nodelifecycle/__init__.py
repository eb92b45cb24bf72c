"""What becomes of nodes that fall silent, and of the pods on them.

controller.py watches for signs of life (health.py), writes conditions and taints (taints.py) at the pace that zones.py
allows, and tells pods of lost nodes that they are not ready. eviction.py deletes pods that do not tolerate the taints.
"""
