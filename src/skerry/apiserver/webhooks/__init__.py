"""Admission webhooks: what asks others before it stores an object.

`matching` says whom an operation is to be shown to, `reviews` what they are sent and what their answers mean (both
pure), `ways` how they are reached, `calling` speaks HTTPS to them, `admitting` keeps the configurations and runs one
operation past all of them. Called by verbs.py, deletion.py and subresources.py through `Server.webhooks`.
"""
