"""The settings of a connection to a model server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from spacy_padellm.errors import Errors

LONGEST_URL = 2000  # characters; messages show it


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


def check_url(url: Any) -> None:
    """Check a base URL, which is saved with the pipeline.

    url (Any): The base URL.
    RAISES (ValueError): If it is not valid, or too long, or contains a user name,
        password or query.
    """
    if not isinstance(url, str):
        # not the value, which may hold a secret
        raise ValueError(Errors.P171.format(url=type(url).__name__))
    if len(url) > LONGEST_URL:
        message = Errors.P987.format(length=len(url), most=LONGEST_URL)
        raise ValueError(message)
    if not _is_address(url) or url != url.strip():
        # without what may be secret
        shown = re.sub(r"^(\w+:/*)?.*@", r"\1", url, flags=re.DOTALL)
        shown = re.sub(r"[?#].*", "", shown, flags=re.DOTALL)
        raise ValueError(Errors.P171.format(url=shown))


def _is_address(url: str) -> bool:
    """Whether it has a scheme, a host, a right port if any, and no secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")  # as it is looked up, by parts of 1 to 63 characters
        complete = parts.scheme in ("http", "https") and host and " " not in host
        secret = parts.username is not None or parts.query or parts.fragment
        return bool(complete and not secret and parts.port != 0)
    except ValueError:
        return False  # a port that is no number, or an impossible host name
