"""The last net under secrets: what the command writes goes through here, and values that are known to be secret
become ``***``.

Nothing is meant to write one. This is for what nobody thought of: a server that repeats what it was sent, a
library's debug line, an exception that holds its arguments.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from csv2kafka.config import CommonConfig, options

STARS = "***"
SHORTEST = 4  # what is shorter stands in too much that has nothing to do with it
SHORTEST_LINE = 16  # of a value of several lines, such as a private key
GIVEN = ("password", "secret", "token", "sse_customer_key")  # in names of options that hold secrets
PRIVATE_KEY = "PRIVATE KEY-----"

# ``user:password@`` before a host, with a scheme or without; what lets somebody in behind a ``?``.
_LOGIN = re.compile(r"(?:(?<=//)|(?<![\w/%.-]))[^\s/@:'\"]*:[^\s/@'\"]+@(?=[\w\[])")
_SIGNED = re.compile(
    r"([?&](?:x-(?:amz|goog)-[\w-]+|[\w-]*(?:signature|token|secret|password|passwd|credential|api[-_]?key)[\w-]*|sig)=)"
    r"[^&\s'\"#]+",
    re.IGNORECASE,
)

_known: list[str] = []  # the longest first: one may be a part of another


def hide(value: str) -> None:
    """From now on this value is not written, nor are its parts, if it is a private key or a JSON object."""
    lines = [line for line in value.splitlines() if len(line) >= SHORTEST_LINE and not line.startswith("-----")]
    for secret in [value, value.strip(), *lines, *_entries(value)]:
        found = {form for form in _forms(secret) if len(form) >= SHORTEST}
        _known[:] = sorted({*_known, *found}, key=lambda form: (-len(form), form))


def hide_given(config: CommonConfig) -> None:
    """The same for the secrets that a configuration holds, wherever they came from."""
    for name, said in options(type(config)).items():
        for key, value in getattr(config, name).items() if said.kind.keyed else ():
            if isinstance(value, str) and (any(word in key for word in GIVEN) or PRIVATE_KEY in value):
                hide(value)


def redacted(text: str) -> str:
    """The text without secrets: those that are known, and what stands where an address has them, mistyped or not."""
    for secret in _known:
        text = text.replace(secret, STARS)
    return _SIGNED.sub(rf"\1{STARS}", _LOGIN.sub(f"{STARS}@", text))


def redacted_facts(value: Any) -> Any:
    """The same for what will be JSON: its texts only, for a number replaced would not be JSON any more."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {name: redacted_facts(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_facts(entry) for entry in value]
    return value


def _entries(value: str) -> list[str]:
    """The texts of a JSON object: a whole secret, where one of its keys was meant."""
    try:
        entries = json.loads(value)
    except ValueError:
        return []
    return [entry for entry in entries.values() if isinstance(entry, str)] if isinstance(entries, dict) else []


def _forms(secret: str) -> set[str]:
    """How it may be written: as it is, inside quotes of Python or JSON, as bytes, in an address."""
    return {
        secret,
        repr(secret)[1:-1],
        repr(secret.encode())[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        quote(secret),
    }
