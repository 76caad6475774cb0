"""The same members as containers: Compose for what should run, the Engine API for everything live."""

from control_room.stack.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]
