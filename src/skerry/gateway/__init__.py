"""Ingress: what Ingresses, their classes, Services and Secrets ask for, run by an Envoy beside a node.

From objects to Envoy, in the order in which data flows; everything up to `xds` is pure:

    desired.desired(ingresses, classes, services, secrets) -> model.Desired   which host and path goes where
    endpoints.endpoints_of(cluster, slices)                                   where a cluster's pods are
    xds.files, xds.stream                                                     the same in Envoy's own words
    writing.Writer, server.StreamServer                                       files and a stream that Envoy reads
    follow.Follower                                                           when: from the API's watches

What the rules are: docs/explanation/ingress.md.
"""
