"""The local runtime: real servers as processes of this machine, without a container engine."""

from control_room.stack.local.runtime import LocalRuntime

__all__ = ["LocalRuntime"]
