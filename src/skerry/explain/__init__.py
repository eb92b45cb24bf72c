"""What the objects of a cluster mean, said in sentences: `skerry why`, and the same as an event on the Service.

Read in this order: `seen` (what was looked at), `findings` (what can be said, one row a reason), `selectors`,
`containers`, `pods`, `ports`, `objects` and `traffic` (who finds it), `why` (all of them in order) and `text` (for a
terminal). These are pure. Then the shells: `read` asks an API server, any Kubernetes will do; `listening` asks whether
a port of a pod is open; `events` is the controller that writes the Warning event.
"""
