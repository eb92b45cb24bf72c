"""Claims get volumes: `decide` says which (pure), `controller` writes it, for claims and volumes alike.

The scheduler chooses the node of a claim that waits for its first consumer (controllers/scheduler/claims.py); the node
itself makes the directory of a volume and takes it away (node/agent/hostpaths.py).
"""
