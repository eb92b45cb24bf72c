"""kubectl exec, attach, port-forward and cp: from the client's WebSocket or SPDY connection to the node agent.

negotiate.py says what a request wants; spdy.py and channels.py are the wire formats, without a socket; session.py
is a SPDY connection, remotecommand.py and portforward.py join clients to node agents. Called by apiserver/app.py.
"""
