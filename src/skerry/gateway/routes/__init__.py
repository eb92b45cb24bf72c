"""The Gateway API: GatewayClass, Gateway and HTTPRoute of gateway.networking.k8s.io/v1, on the Envoy of Ingress.

Pure but for follow.py and publish.py: objects.py reads what users wrote, binding.py says which route hangs on which
listener, rules.py what its rules mean, desired.py puts it together and conditions.py says it in statuses.
"""
