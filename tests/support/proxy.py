"""A TCP proxy between a client and a server: cuts connections, delays what goes through them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65_536


class Proxy:
    """Listens on a port of its own and forwards to another. ``delay_s`` holds back each chunk that
    comes from the server: an answer is late, or, cut meanwhile, lost."""

    def __init__(self, to_port: int) -> None:
        self.to_port, self.delay_s = to_port, 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._ending = threading.Event()
        self.cut_count = 0
        self._start(self._accept)

    def cut(self) -> None:
        """Close every connection that is open now; new ones are let through."""
        with self._lock:
            cut, self._open = self._open, set()
        self.cut_count += len(cut) // 2
        for one in cut:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(10)

    def _start(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args, name="proxy")  # type: ignore[arg-type]
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to_port), 2)
            except OSError:  # nobody is there: the client sees a connection that ends
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            self._start(self._pump, near, far, False)
            self._start(self._pump, far, near, True)

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if is_answer and self.delay_s:
                    self._ending.wait(self.delay_s)
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        if is_answer:
            with self._lock:
                self._open -= {source, sink}
        source.close()


@contextmanager
def proxy(to_port: int) -> Iterator[Proxy]:
    """A proxy in front of a port."""
    made = Proxy(to_port)
    try:
        yield made
    finally:
        made.close()
