"""Where tensors live: the mesh, the table from logical dims to its axes, and several processes.

Reading order: mesh, rules, hosts.
"""
