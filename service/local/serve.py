"""Start the in-process engine's server: ``python -m service.local.serve``."""

from urllib.parse import urlsplit

import uvicorn

from service.local.app import create_app
from service.settings import Settings


def serve(settings: Settings) -> None:
    """Serve on the address of ``LETHE_ENGINE_URL`` until told to end.

    Raises ValueError where that is no plain address, and as ``create_app``.
    """
    address = urlsplit(settings.engine_url)
    if address.scheme != "http" or address.hostname is None:
        raise ValueError("LETHE_ENGINE_URL must be http://host:port")
    uvicorn.run(
        create_app(settings),
        host=address.hostname,
        port=address.port or 80,
        access_log=False,
        log_level=settings.log_level.lower(),
        # Longer than a gateway keeps idle connections: the engine never closes one under it.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    serve(Settings())
