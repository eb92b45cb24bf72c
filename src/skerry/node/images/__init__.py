"""Container images: names, registries, layers on disk, archives. `manager.Images` is what the node agent talks to.

`reference` (pure names) and `manifest` (pure documents) decide; `http` and `registry` fetch; `unpack` turns a layer's
tar into a directory for overlayfs; `store` keeps layers and names; `archive` reads what `skerry load` is given.
"""
