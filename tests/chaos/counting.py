"""A web server for one file that counts what it has sent: how much of a source a job reads again."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from attrs import define

PIECE_BYTES = 1 << 16
SPAN = re.compile(r"bytes=(\d+)-(\d+)")


@define(eq=False)
class Counted:
    """``sent``: bytes that were handed to connections; a client that was killed may not have taken the last of them."""

    url: str
    sent: int = 0


@contextmanager
def counting(path: Path) -> Iterator[Counted]:
    """The server, in threads of this process."""
    content = path.read_bytes()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = SPAN.fullmatch(self.headers.get("range", ""))
            first, last = (int(found[1]), min(int(found[2]), len(content) - 1)) if found else (0, len(content) - 1)
            self.send_response(206 if found else 200)
            self.send_header("ETag", '"it"')
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            for at in range(first, last + 1, PIECE_BYTES):
                piece = content[at : min(at + PIECE_BYTES, last + 1)]
                self.wfile.write(piece)
                with lock:
                    counted.sent += len(piece)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # they end with their connections, which end with the job

        def handle_error(self, *_: object) -> None:
            pass  # a client went away

    server = Server(("127.0.0.1", 0), Handler)
    counted = Counted(f"http://127.0.0.1:{server.server_address[1]}/{path.name}")
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield counted
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
