"""The external runtime: a stack that runs elsewhere, watched, replayed into and judged, but owned by somebody else."""

from control_room.stack.external.runtime import ExternalRuntime

__all__ = ["ExternalRuntime"]
