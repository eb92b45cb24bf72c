"""The userspace back end: a listener for each frontend, and relays behind them. For machines without nftables.

backend.py follows the table, places.py says where cluster IPs are, choice.py picks backends, filters.py drops packets.
"""
