"""The node agent's small HTTP server, to which the API server turns for logs and the like.

server.py speaks HTTP and finds the route, call.py is one request; beside them one module a subject. Called by
node/agent/main.py.
"""
