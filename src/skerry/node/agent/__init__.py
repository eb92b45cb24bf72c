"""The node agent: pods of the API become processes on this node, and what becomes of them goes back. main.py runs it.

manager.py has one worker.py a pod, which does what node/pods decides; registration.py keeps the Node object alive.
"""
