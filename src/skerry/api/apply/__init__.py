"""Server-side apply on plain JSON values: who owns which field, and what becomes of an object when somebody applies.

Pure. `types` says how a kind's lists and maps are merged (from the table of types, or a custom resource's schema),
`fields` are sets of fields as managedFields have them, `walk` the walks over values, `checking` and `merging` what a
value that is applied goes through, `managed` the entries and ordinary writes, `applying` apply.
Called by apiserver/tracking.py and apiserver/applying.py.
"""
