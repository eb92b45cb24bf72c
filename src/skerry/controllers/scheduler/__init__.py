"""The scheduler: each pod gets a node. `fit` decides and is pure, `controller` is the shell around it."""
