"""Jobs: pods that end. `decide`, `counting`, `policies` and `pods` are pure, `controller` is the shell around them."""
