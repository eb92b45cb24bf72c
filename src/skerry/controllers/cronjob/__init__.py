"""CronJobs: a Job whenever one is due. `decide` is pure, `controller` the shell around it."""
