"""A TCP proxy on loopback that throttles, freezes or cuts what goes through it."""

import socket
import threading
import time
from contextlib import suppress

CHUNK_BYTES = 2048


class TcpProxy:
    """Stands before a port of this machine.

    Args:
        port: Where the connections go.
        bytes_per_s: Rate at which answers come, all connections together; None: as fast as it goes.

    Attributes:
        passed_bytes: What has come at that rate.
    """

    def __init__(self, port, bytes_per_s=None):
        self._target, self._bytes_per_s = port, bytes_per_s
        self._flowing = threading.Event()
        self._flowing.set()
        self._pace, self._free_at_s = threading.Lock(), 0.0
        self._sockets = []
        self.passed_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self):
        """Let nothing through either way; no connection ends, as when a cable is pulled."""
        self._flowing.clear()

    def thaw(self):
        """Let everything through, also what has come in the meantime."""
        self._flowing.set()

    def cut(self):
        """End all connections."""
        while self._sockets:
            with suppress(OSError):
                self._sockets.pop().shutdown(socket.SHUT_RDWR)

    def close(self):
        """End all, and take no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thaw()
        self.cut()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for source, sink, rate in ((near, far, None), (far, near, self._bytes_per_s)):
                    threading.Thread(
                        target=self._pump, args=(source, sink, rate), daemon=True
                    ).start()

    def _pump(self, source, sink, rate):
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                if rate:
                    self._wait_for_its_turn(len(data) / rate)
                sink.sendall(data)
                self.passed_bytes += len(data) if rate else 0
        self._flowing.wait()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _wait_for_its_turn(self, duration_s):
        with self._pace:
            self._free_at_s = max(self._free_at_s, time.monotonic()) + duration_s
            wait_s = self._free_at_s - time.monotonic()
        time.sleep(max(0.0, wait_s))
