"""Is a program of ours up?  For containers: ``python -m service.healthcheck [URL]``.

Without a URL it asks the gateway whether it is ready, on the port of the settings.  It imports
nothing but the standard library, because it runs every few seconds.
"""

import os
import sys
from http.client import HTTPException
from urllib.request import urlopen

TIMEOUT_S = 2.0


def gateway_url() -> str:
    """Where the gateway says whether it is ready."""
    return f"http://127.0.0.1:{os.environ.get('LETHE_PORT', '8080')}/health/ready"


def healthy(url: str) -> bool:
    """Whether the URL answers with a 2xx in time."""
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  (given by the image)
            return bool(200 <= answer.status < 300)
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(sys.argv[1] if len(sys.argv) > 1 else gateway_url()) else 1)
