"""A tiny exported captioner behind the double, and malicious servers."""

import contextlib
import http.server
import socket
import threading
import types

import numpy as np
import pytest

WORDS = ["a", "café", "犬", "on", "grass", "red"]


@pytest.fixture(scope="session")
def captioner():
    """A captioner with random weights, whose captions differ by photo."""
    from pipelines.encoders.registry import build_encoder
    from pipelines.vocabulary import Vocabulary
    from show_attend_tell.configs.decoding import Decoding
    from show_attend_tell.configs.model import ModelConfig
    from show_attend_tell.inference.caption_generator import CaptionGenerator
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
    from show_attend_tell.model import Captioner

    vocabulary = Vocabulary(WORDS)
    model = Captioner(ModelConfig(8, 8, 8, initial_units=0), len(vocabulary))
    model.build({"annotations": (1, 196, 128), "tokens": (1, 1, 2)})
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 1.2, weight.shape))
    return WorkdirCaptioner(
        build_encoder("scenes"),
        CaptionGenerator(model, vocabulary, (14, 14), "squash"),
        Decoding(beam_width=3, num_captions=2, max_words=5),
    )


@pytest.fixture(scope="session")
def session(captioner, tmp_path_factory):
    """The captioner's SavedModel, loaded as a server loads it."""
    from show_attend_tell.exporting.archive import write_archive
    from show_attend_tell.exporting.saved_model_signatures import signatures
    from show_attend_tell.inference.saved_model_session import SavedModelSession

    # The tests of the export test its validation and its warm-up.
    functions = signatures(captioner, captioner.decoding)
    names = ("serving_default", "n_best", "encode")
    path = tmp_path_factory.mktemp("served") / "scenes"
    write_archive(path, {name: functions[name] for name in names})
    with SavedModelSession(path) as session:
        yield session


@contextlib.contextmanager
def serving(session, *flags):
    """Serves versions 1 and 3; yields their models, and targets by protocol."""
    from tests.show_attend_tell.serving import double

    options = double.parse_options(flags)
    model = double.Model(session, options)
    server = double.Server("scenes", {1: model, 3: model})
    with double.serving(server, options) as ports:
        targets = [f"localhost:{port}" for port in ports]
        targets = dict(zip(("grpc", "rest"), targets, strict=True))
        yield types.SimpleNamespace(server=server, model=model, targets=targets)


@pytest.fixture(scope="session")
def served(session):
    """The double without batching."""
    with serving(session) as running:
        yield running


@contextlib.contextmanager
def http_server(*responses):
    """Sends one (status, body) after the other, the last one repeatedly."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = responses[min(len(paths), len(responses) - 1)]
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        try:
            yield f"localhost:{server.server_port}", paths
        finally:
            server.shutdown()


@contextlib.contextmanager
def dripping_server(pause=0.05):
    """Accepts any request, and sends a byte of a header now and then."""
    listener = socket.create_server(("localhost", 0))
    stopped = threading.Event()

    def drip(connection):
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not stopped.wait(pause):
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
        stopped.set()
        listener.close()


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]
