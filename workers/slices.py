"""A service that goes on from one slice of its job to the next, in one worker process."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from app.core.platform import Platform


class Service(Protocol):
    """What a job runs for a slice at a time; between two of them its threads go on."""

    platform: Platform

    def run(self, slice_s: float) -> None:
        """Until the slice is over or the process stops."""

    def close(self) -> None:
        """Put everything down."""


S = TypeVar("S", bound=Service)


class Slices(Generic[S]):
    """Keeps the service that the last slice left; one that broke or stops is closed."""

    def __init__(self, make: Callable[[Platform], S]) -> None:
        self._make = make
        self._kept: S | None = None

    def serve(self, platform: Platform, slice_s: float) -> None:
        """Run the service for so long."""
        service, self._kept = self._kept, None
        if service is None or service.platform is not platform:
            service = self._make(platform)
        try:
            service.run(slice_s)
        except BaseException:
            service.close()
            raise
        if platform.stopping.is_set():
            service.close()
        else:
            self._kept = service
