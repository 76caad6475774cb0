"""What the docker runtime can do to members beyond what every one can: `WipesKafka` and its like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import docker

from control_room.stack.docker import clocks as docker_clocks
from control_room.stack.docker import engine, faults, full_disk, kafka_wipe, views
from control_room.stack.docker.engine import Container
from control_room.stack.local import clocks
from control_room.stack.local.kafka import new_cluster_id
from control_room.stack.local.layout import Layout
from control_room.stack.runtime import BROKERS, FreshKafka, NotRunningError

ENGINE_RESTART: Final = "BRUCE_ENGINE_RESTART"
"""A command that restarts the engine: a user's word that it may be."""


class FurtherFaults(ABC):
    """A part of `DockerRuntime`, which has what is abstract here."""

    layout: Layout
    _environ: dict[str, str]
    _kept: dict[str, Any]

    @abstractmethod
    def kill(self, members: Iterable[str]) -> None:
        """See `Runtime`."""

    @abstractmethod
    def _engine(self) -> docker.DockerClient: ...

    @abstractmethod
    def _look_again(self) -> None: ...

    @abstractmethod
    def _each(self, members: Iterable[str], do: Callable[[docker.DockerClient, Container], None]) -> None: ...

    @abstractmethod
    def _all(self) -> Mapping[str, dict[str, Any] | None]: ...

    @abstractmethod
    def _keep(self, **facts: dict[str, int]) -> None: ...

    def isolate(self, member: str) -> None:
        """Takes it off its network."""
        self._each([member], faults.isolate)

    def rejoin(self, member: str) -> None:
        """Puts it back."""
        self._each([member], faults.rejoin)

    def is_isolated(self, member: str) -> bool:
        """Whether it is in no network."""
        found = self._all().get(member)
        return found is not None and faults.is_isolated(found)

    def wipe_kafka(self) -> FreshKafka:
        """Replaces every broker's container and volume by empty ones, for another cluster."""
        cluster_id = new_cluster_id()
        # On disk first: an `up` after an interruption makes what is missing for the same cluster.
        kafka_wipe.keep(self.layout, cluster_id)
        self.kill(BROKERS)
        held: list[int] = []
        self._each(BROKERS, lambda client, one: held.append(kafka_wipe.replace(client, one, cluster_id)))
        return FreshKafka(cluster_id, sum(held))

    def engine_restart_unavailable(self) -> str | None:
        """Nobody but the user knows whether others use the engine, and how it is restarted here."""
        if self._environ.get(ENGINE_RESTART, "").strip():
            return None
        return (
            f"others may use this engine; where it is yours alone, name what restarts it in {ENGINE_RESTART} "
            "(such as `sudo systemctl restart docker`)"
        )

    def restart_engine(self) -> None:
        """Runs the user's command, and waits for the engine's answer."""
        engine.restart(self._engine(), self._environ.get(ENGINE_RESTART, ""))
        self._look_again()

    def disk_full_unavailable(self) -> str | None:
        """It is always there: what sets the limit is Linux, wherever the engine is."""
        return None

    def fill_disk(self, member: str) -> int:
        """Lets it write nothing more."""
        limits: list[int] = []

        def fill(client: docker.DockerClient, one: Container) -> None:
            limits.append(full_disk.limit_of(client, one))
            self._keep(full={**self._full(), member: limits[0]})
            full_disk.fill(client, one, self._services_image(), limits[0])

        self._each([member], fill)
        return limits[0]

    def free_disk(self, member: str) -> None:
        """Lets it write again."""
        self._keep(full={name: limit for name, limit in self._full().items() if name != member})
        self._each([member], lambda client, one: full_disk.free(client, one, self._services_image()))

    def disk_is_full(self, member: str) -> bool:
        """Whether `fill_disk` was the last of the two."""
        return member in self._full()

    def clock_step_unavailable(self) -> str | None:
        """It takes libfaketime, and Linux."""
        return clocks.unavailable(self._environ)

    def give_own_clock(self, member: str) -> None:
        """Restarts it with a clock of its own, in another container."""
        self._each([member], lambda client, one: docker_clocks.put_under(client, one, self.layout, self._environ))

    def step_clock(self, member: str, offset_s: float) -> None:
        """Puts that clock off."""
        docker_clocks.step(self.layout, member, offset_s)

    def take_own_clock(self, member: str) -> None:
        """Restarts it with the machine's clock, in another container."""
        self._each([member], docker_clocks.release)

    def has_own_clock(self, member: str) -> bool:
        """Whether it has one."""
        found = self._all().get(member)
        return found is not None and docker_clocks.is_under(views.variables(found))

    def _started(self, client: docker.DockerClient, one: Container) -> None:
        full_disk.started(client, one, self._services_image(), self._full().get(one.member))

    def _full(self) -> dict[str, int]:
        """The members whose disk is full, and how long their files may be."""
        return dict(self._kept.get("full", {}))

    def _services_image(self) -> str:
        found = self._all().get("dispatcher")
        if found is None:
            raise NotRunningError("the dispatcher has no container; start the stack with `bruce-control up`")
        return str(found["Image"])
