"""The nftables back end: the service table in a fixed number of kernel maps, written over netlink.

schema.py is the shape of the kernel table; plan.py decides (pure) which elements change in which order; encode.py makes
messages of that; family.py sends them, for each family.
"""
