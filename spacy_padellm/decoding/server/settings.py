"""The settings of a connection to a model server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from spacy_padellm.errors import Errors


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of a connection; see `ServerDecoder`."""

    base_url: str
    model: str | None
    api_key_env: str
    max_concurrency: int
    max_retries: int
    timeout: float

    @property
    def root(self) -> str:
        """The address without `/v1`, for endpoints that OpenAI's API does not have."""
        return self.base_url.rstrip("/").removesuffix("/v1")


def check_url(url: str) -> None:
    """Check a base URL, which is saved with the pipeline.

    url (str): The base URL.
    RAISES (ValueError): If it is not valid, or contains a user name, password or query.
    """
    if not _is_address(url) or url != url.strip():
        # without what may be secret
        shown = re.sub(r"^(\w+:/*)?.*@", r"\1", url, flags=re.DOTALL)
        shown = re.sub(r"[?#].*", "", shown, flags=re.DOTALL)
        raise ValueError(Errors.P171.format(url=shown))


def _is_address(url: str) -> bool:
    """Whether it has a scheme, a host, a right port if any, and no secret."""
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and parts.hostname
        secret = parts.username is not None or parts.query or parts.fragment
        return bool(complete and not secret and parts.port != 0)
    except ValueError:
        return False  # a port that is no number, or brackets without an address
