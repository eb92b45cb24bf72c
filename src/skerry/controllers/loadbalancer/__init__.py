"""Addresses of Services of type LoadBalancer: `decide` chooses (pure), `controller` writes. Rules B1-B7."""
