"""The API server: HTTP in, store out. Assembled by cluster/, called by everybody through client/.

`app` routes a Request to a verb; `verbs` and `deletion` change objects, `reading` and `watching` send stored bytes;
`strategies` has what is special about a kind; `edge` is the only file that knows of HTTP sockets.
"""
