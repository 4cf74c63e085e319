"""Secrets of the environment, such as the API key, and which server may have them."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, quote_plus, unquote
from urllib.request import getproxies

from spacy_padellm.errors import Errors

DEFAULT_KEY = "OPENAI_API_KEY"
HOSTS = "PADELLM_API_KEY_HOSTS"
_OPENAI = "api.openai.com"
_BYTES = "surrogateescape"  # how the environment holds bytes that are not UTF-8
_SHORTEST = 4  # characters; to cut out shorter ones would spoil a message
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


def find_secrets(key_variable: str) -> list[str]:
    """Find the secrets that requests hold, as error messages may show them.

    key_variable (str): The environment variable with the API key.
    RETURNS (list[str]): The API key, what the openai package sends by itself, and the
        passwords of proxies: as they are, as they are sent, escaped, and quoted, the
        longest first.
    """
    found = [os.environ.get(name, "") for name in (key_variable, *_OPENAI_VARIABLES)]
    headers = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    found += [header.partition(":")[2] for header in headers]
    found += _proxy_secrets()
    found = [secret.strip() for secret in found]
    forms = {f for secret in found if len(secret) >= _SHORTEST for f in _forms(secret)}
    return sorted(forms, key=len, reverse=True)


def hide(words: str, secrets: Sequence[str]) -> str:
    """Cut secrets out of words.

    words (str): The words.
    secrets (Sequence[str]): What `find_secrets` returned.
    """
    for secret in secrets:
        words = words.replace(secret, "***")
    return words


def _proxy_secrets() -> Iterator[str]:
    for proxy in getproxies().values():
        user, at, _ = proxy.rpartition("@")
        if not at:
            continue
        # httpx adds a scheme to an address without one
        sent = user.partition("://")[2] or user
        name, _, password = sent.partition(":")
        secret = password or name
        # of an address that cannot be read, errors show parts
        yield from (secret, *re.split("[/?#]", secret))
        # what proxies are sent, and may quote
        yield unquote(secret)
        basic = f"{unquote(name)}:{unquote(password)}"
        yield b64encode(basic.encode(errors=_BYTES)).decode()


def _forms(secret: str) -> Iterator[str]:
    """A secret, and how Python, JSON and addresses write it."""
    yield from (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1])
    for write, safe in ((quote, "/"), (quote, ""), (quote_plus, "")):
        yield write(secret, safe=safe, errors=_BYTES)


def _named_hosts() -> set[str]:
    hosts = os.environ.get(HOSTS, "").split(",")
    return {host.strip().lower() for host in hosts}


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine; names other than localhost may be anyone's."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
