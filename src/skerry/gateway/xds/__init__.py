"""Envoy's configuration as JSON (v3 API, DiscoveryResponse form), from `Desired`. Pure: names and bytes, no files.

`files` is the way in; the other modules render one kind of resource each.
"""
