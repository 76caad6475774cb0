"""Links: what members dial through where the stack was started with `--links`, so that a connection can be faulted.

A process of its own (`python -m control_room.stack.links`) listens at one *door* per client and server, and passes
bytes on. It knows nothing of the rest of the control room.
"""
