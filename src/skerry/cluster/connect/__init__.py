"""`skerry connect`: one proxy on the machine's loopback through which the cluster's names and addresses work.

`dialogue` speaks SOCKS5 and HTTP with clients, `dialer` finds what they name, `door` gives sockets of the cluster's
network, `main` puts them together and runs the command that is to use them.
"""
