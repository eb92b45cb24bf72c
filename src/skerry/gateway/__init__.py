"""Ingress: what Ingresses, their classes, Services and Secrets ask for, as a configuration of Envoy. Pure in here.

From objects to Envoy's files, in the order in which data flows:

    desired.desired(ingresses, classes, services, secrets) -> model.Desired   which host and path goes where
    endpoints.endpoints_of(cluster, slices)                                   where a cluster's pods are
    xds.files.render(desired, endpoints, settings) -> {file name: bytes}      Envoy's own words
    xds.files.changes(old, new) -> writes                                     in an order that loses no request

A change of endpoints takes the second line and `xds.endpoints.file` alone: one small file.
"""
