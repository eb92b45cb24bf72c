"""The kernel's netlink, as much as Skerry needs: links and routes for pods, nf_tables for Services.

Called by node/ (route) and proxy/ (nft). Written by hand because the node process has to start in a fraction of a
second and stay small, and because the same few functions that write messages serve the data plane, which is what
the project is about.
"""
