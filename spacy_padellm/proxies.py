"""What is said of a proxy that requests go through."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from spacy_padellm.errors import Errors


def proxy_note(url: str) -> str:
    """What an error message says of the proxy that requests to an address go through.

    HTTP clients take it from the environment, for servers on this machine too.

    url (str): The address.
    RETURNS (str): A sentence with the remedy, after a space; empty without a proxy.
    """
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", getproxies()
    kind = parts.scheme if parts.scheme in proxies else "all"
    if kind not in proxies or proxy_bypass(host):
        return ""
    names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    variable = next((name for name in names if os.environ.get(name)), None)
    origin = f"{variable} in the environment" if variable else "the system's settings"
    # without its password, and what else may be secret
    proxy = re.split("[/?#]", proxies[kind].rpartition("@")[2].rpartition("//")[2])[0]
    return " " + Errors.P249.format(proxy=proxy, origin=origin, host=host)
