"""HTTP servers of the tests, on the loopback address."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise it logs each request


@contextmanager
def serving(
    answer: Callable[[Request], Response], certificate: tuple[str, str] | None = None
) -> Iterator[str]:
    """Answer requests by this function, in a thread each; yield the server's URL.

    It uses TLS if it gets the files of a certificate for localhost, and of the key.
    """
    application = Request.application(answer)
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=certificate)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
