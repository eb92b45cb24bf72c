"""The typed, asynchronous client of the API: the same in the server's own process and over HTTP.

`client` has the verbs, `http` the sockets, `informer` the caches, `workqueue` and `controller` what controllers are
made of, `events` the recorder. Called by controllers/, node/, proxy/, dns/ and cli/.
"""
