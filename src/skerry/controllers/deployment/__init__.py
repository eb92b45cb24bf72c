"""Deployments: one ReplicaSet a version of the template, and the way from one to the next.

`rollout` decides the sizes, `versions` finds and makes ReplicaSets and numbers them, `status` says how far it is; all
three are pure. `controller` is the shell around them.
"""
