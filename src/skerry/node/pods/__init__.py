"""What becomes of a pod on its node, without doing any of it: machine.py decides, status.py tells the API. Pure.

Called by node/agent/worker.py.
"""
