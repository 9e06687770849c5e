"""Artifacts on an object store, or anywhere else that fsspec reaches by a URL."""

import fsspec


class RemoteFiles:
    """Files under one URL (``s3://bucket/lethe``, ``memory://x``), named by relative paths.

    Written whole or not at all, which is what object stores do.  Every method may raise OSError.
    """

    def __init__(self, url: str) -> None:
        """Raises ValueError or ImportError for a kind of URL that fsspec does not know here."""
        made = {"auto_mkdir": True} if url.startswith("file:") else {}  # elsewhere no folders are
        self._files, root = fsspec.core.url_to_fs(url, **made)
        self._root = str(root).rstrip("/")

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        content: bytes = self._files.cat_file(self._path(name))
        return content

    def write(self, name: str, data: bytes) -> None:
        """Durable when it returns, as far as the object store promises that."""
        self._files.pipe_file(self._path(name), data)

    def exists(self, name: str) -> bool:
        """Asked of the store itself, not of a listing that was read before."""
        self._files.invalidate_cache()
        return bool(self._files.exists(self._path(name)))

    def size(self, name: str) -> int:
        """Bytes.  Raises FileNotFoundError."""
        return int(self._files.size(self._path(name)))

    def remove(self, name: str) -> None:
        """Of one that is not there nothing changes."""
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
