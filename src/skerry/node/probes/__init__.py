"""Probes: schedule.py says when and what outcomes add up to (pure), handlers.py asks, worker.py does it in time.

Called by node/agent. Rules R1-R8.
"""
