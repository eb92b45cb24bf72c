"""A pod's volumes as directories of the node: payload.py says what is in them (pure), setup.py makes them,
tree.py changes them at once, mounts.py says what a container sees of them.

Called by node/agent when a pod begins. Kinds: emptyDir, hostPath, configMap, secret, downwardAPI, projected.
"""
