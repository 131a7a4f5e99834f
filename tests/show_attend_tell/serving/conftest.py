"""Servers on this machine: the double, and some that mean no good."""

import contextlib
import http.server
import shutil
import socket
import threading
import types

import pytest


@contextlib.contextmanager
def serving(model_base_path, *flags, server=None):
    """Runs the double; gives its models, and its targets by protocol."""
    from tests.show_attend_tell.serving import double

    options = double.options_of(
        ["--model_name=scenes", f"--model_base_path={model_base_path}", *flags]
    )
    server, port, rest_port, stop = double.start(options, server)
    targets = {"grpc": f"localhost:{port}", "rest": f"localhost:{rest_port}"}
    try:
        yield types.SimpleNamespace(server=server, targets=targets)
    finally:
        stop()


@pytest.fixture(scope="session")
def served(exported, tmp_path_factory):
    """The double with two versions of a captioner, without batching."""
    base = tmp_path_factory.mktemp("served")
    shutil.copytree(exported, base / "1")
    shutil.copytree(exported, base / "3")
    with serving(base) as running:
        yield running


@contextlib.contextmanager
def http_server(*answers):
    """Gives one (status, body) after the other, the last for ever."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"localhost:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def dripping_server(pause=0.05):
    """Accepts whatever comes, and sends a byte of a header now and then."""
    listener = socket.create_server(("localhost", 0))
    ended = threading.Event()

    def drip(connection):
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(pause):
                connection.sendall(b"x")

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=drip, args=(connection,)).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"localhost:{listener.getsockname()[1]}"
    finally:
        ended.set()
        listener.close()


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]
