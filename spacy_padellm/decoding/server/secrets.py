"""Secrets of the environment, such as the API key, and which server may have them."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any

from spacy_padellm.errors import Errors

DEFAULT_KEY = "OPENAI_API_KEY"
HOSTS = "PADELLM_API_KEY_HOSTS"
_OPENAI = "api.openai.com"
# sent by the openai package itself, to any server
_OPENAI_VARIABLES = (
    DEFAULT_KEY,
    "OPENAI_CUSTOM_HEADERS",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
)


def read_key(variable: str) -> str:
    """Read the API key; empty if none is needed.

    variable (str): The environment variable with the API key.
    RAISES (ValueError): If a variable other than the default is not set, or if the key
        contains characters that are not allowed.
    """
    key = os.environ.get(variable, "").strip()  # e.g. the line break of a file
    if not (key.isascii() and key.isprintable()):
        raise ValueError(Errors.P181.format(variable=variable))
    if not key and variable != DEFAULT_KEY:
        raise ValueError(Errors.P172.format(variable=variable))
    return key


def check_secrets(url: Any, key_variable: str, *, proxy_note: str) -> None:
    """Check that a server may have the secrets that requests to it hold.

    The address and the variable's name are saved with a pipeline, which may come from
    someone else. So secrets are sent to this machine, to OpenAI if they are meant for
    it, and to the hosts that the environment names.

    url (Any): The server's address as the client reads it, with `host` and `scheme`.
    key_variable (str): The environment variable with the API key.
    proxy_note (str): What is said of a proxy, which another machine may be. Empty
        without one.
    RAISES (ValueError): If a variable that would be sent is set, and the server may not
        have it.
    """
    host = url.host.lower()
    is_here = _is_loopback(host) and not proxy_note
    if is_here or host in _named_hosts():
        return
    openai = host == _OPENAI and url.scheme == "https"
    for variable in dict.fromkeys((key_variable, *_OPENAI_VARIABLES[1:])):
        is_openais = openai and variable in _OPENAI_VARIABLES
        if os.environ.get(variable, "").strip() and not is_openais:
            message = Errors.P505.format(variable=variable, host=host)
            raise ValueError(message + proxy_note)


def _named_hosts() -> set[str]:
    hosts = os.environ.get(HOSTS, "").split(",")
    return {host.strip().lower() for host in hosts}


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine; names other than localhost may be anyone's."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
