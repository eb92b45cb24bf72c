"""Public test tools. What is in here needs no cluster to be imported."""
