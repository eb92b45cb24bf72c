"""What the end-to-end tests of Ingress and of the Gateway API share: web servers in pods, and curl at the door."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

WEB = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: host
    command:
    - python3
    - -c
    - |
      import http.server
      class Handler(http.server.BaseHTTPRequestHandler):
          wbufsize = -1  # an answer is one packet: two wait for each other (Nagle, delayed ACK)
          protocol_version, server_version, sys_version = "HTTP/1.1", "{name}", ""
          def do_GET(self):
              if self.headers.get("Upgrade") == "websocket":
                  self.send_response(101)
                  self.send_header("Upgrade", "websocket")
                  self.send_header("Connection", "Upgrade")
                  self.end_headers()
                  self.wfile.flush()
                  self.wfile.write(self.rfile.read(5)[::-1])
                  self.close_connection = True
                  return
              body = (self.path + "\\n" + str(self.headers)).encode()
              self.send_response(200)
              self.send_header("Content-Length", str(len(body)))
              self.end_headers()
              self.wfile.write(body)
      http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
    readinessProbe: {{httpGet: {{port: 8080, path: /}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""


def web(name: str) -> str:
    """A pod and its Service: answers with path and headers of the request, is `Server: NAME`, echoes a WebSocket."""
    return WEB.format(name=name)


class Door(NamedTuple):
    """An address at which a balancer's ports are open."""

    address: str
    http: int
    https: int = 0

    def curl(self, url: str, *more: str) -> str:
        """The answers of `http://HOST/...` or `https://HOST/...`, whatever the certificate, each with its status last.

        `-w` among `more` says what comes last instead.
        """
        port = self.https if url.startswith("https") else self.http
        command = ["curl", "-sk", "-m", "10", "-w", "\n%{http_code}", "--connect-to", f"::{self.address}:{port}"]
        return subprocess.run([*command, *more, url], capture_output=True, text=True, check=False, timeout=30).stdout
