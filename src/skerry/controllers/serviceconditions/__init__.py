"""What a Service says of itself: does it have ready endpoints, and do all nodes know it?

`conditions` words it and `progress` knows which nodes are behind, both pure; `controller` is the shell around them.
"""
