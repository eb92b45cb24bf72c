"""Who may do what: roles and bindings (rbac), nodes (nodes, restriction), and what is asked of them (attributes).

`authorizer.Authorizer` is the whole of it; app.py asks it for every request that is not an administrator's.
"""
