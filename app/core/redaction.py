"""Takes secrets out of a text before it is stored. Pure; documented in docs/guides/memories.md.

A repetition that may fail after a long way is bounded; any other takes what it has read. So no text
makes it slow. What it finds is replaced by ``[redacted:<kind>]``; names and addresses around it
stay, so that the memory still says which secret it was about.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LOGIN = r"(?:password|passwd|passphrase|passcode|pwd)"
_KEY = r"(?:secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?key)"
_SPARED = r"(?!\[redacted:)"
_PLAIN = r"(?!(?:true|false|null|none|nil|\d{1,9})(?![^\s\"',;&]))"


@dataclass(frozen=True)
class Pattern:
    """``secret`` finds it; the groups ``before`` and ``after``, where there are any, stay."""

    kind: str
    secret: re.Pattern[str]
    example: str


def _of(kind: str, pattern: str, example: str, flags: int = 0) -> Pattern:
    return Pattern(kind, re.compile(pattern, flags), example)


# In this order: the certain ones first, so that a key in an assignment is called by its own name.
PATTERNS = (
    _of(
        "private_key",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        "-----BEGIN RSA PRIVATE KEY----- … (to its END, or to the end of the text)",
        re.DOTALL,
    ),
    _of("jwt", r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{4,}", "eyJ….….…", re.ASCII),
    _of(
        "aws_access_key",
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        "AKIA…, ASIA… (20 letters)",
    ),
    _of(
        "github_token",
        r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
        "ghp_…, gho_…, ghu_…, ghs_…, ghr_…, github_pat_…",
    ),
    _of("gitlab_token", r"(?<![A-Za-z0-9])gl(?:pat|dt|rt|ptt|soat)-[\w-]{16,}", "glpat-…"),
    _of(
        "slack_token",
        r"(?<![A-Za-z0-9])(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}"
        r"|hooks\.slack\.com/services/[\w/]{10,}",
        "xoxb-…, xoxp-…, xapp-…, hooks.slack.com/services/…",
    ),
    _of(
        "stripe_key",
        r"(?<![A-Za-z0-9])(?:[srp]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}",
        "sk_live_…, rk_live_…, pk_live_…, whsec_…",
    ),
    _of("anthropic_key", r"(?<![A-Za-z0-9])sk-ant-[\w-]{16,}", "sk-ant-…"),
    _of(
        "openai_key",
        r"(?<![A-Za-z0-9])sk-(?=[\w-]{0,64}\d)[\w-]{20,}",
        "sk-…, sk-proj-…, sk-svcacct-… (with a digit)",
    ),
    _of(
        "google_key",
        r"(?<![A-Za-z0-9])(?:AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})",
        "AIza…, ya29.…, GOCSPX-…",
    ),
    _of(
        "authorization",
        r"(?P<before>(?>authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?"
        r"(?:(?:bearer|basic|token|digest)\s{1,4})?))" + _SPARED + r"[^\s\"',;]{6,}",
        "Authorization: Bearer …, Authorization: Basic …",
        re.IGNORECASE,
    ),
    _of(
        "bearer_token",
        r"(?P<before>(?<![A-Za-z0-9])(?>bearer\s{1,8}))" + _SPARED + r"[\w+/.~=-]{20,}",
        "Bearer … (20 letters or more)",
        re.IGNORECASE | re.ASCII,
    ),
    _of(
        "url_password",
        r"(?P<before>(?<=[a-z0-9])://[^\s/:@\"'<>]{0,256}:)"
        + _SPARED
        + r"[^\s/\"'<>]{1,512}(?P<after>@)",
        "postgres://user:…@host",
        re.IGNORECASE,
    ),
    _of(
        "password",
        r"(?P<before>(?>" + _LOGIN + r"[\"']?\s{0,4}[:=]\s{0,4}[\"']?))"
        rf"{_SPARED}{_PLAIN}" + r"(?:(?<=\")[^\"\n]+|(?<=')[^'\n]+|[^\s\"',;&]{4,})",
        "password=…, passwd: …",
        re.IGNORECASE,
    ),
    _of(
        "secret",
        r"(?P<before>(?>" + _KEY + r"[\w-]{0,32}[\"']?\s{0,4}[:=]\s{0,4}[\"']?))"
        rf"{_SPARED}{_PLAIN}" + r"(?=[^\s\"',;&]{0,64}[\d!#$%^*+/=_])[^\s\"',;&]{8,}",
        "token=…, api_key: …, aws_secret_access_key = … (8 letters or more, a digit or sign)",
        re.IGNORECASE,
    ),
)


@dataclass(frozen=True)
class Redacted:
    """The text without its secrets, and how many of which kind were taken out."""

    text: str
    counts: Mapping[str, int]


def redact(text: str) -> Redacted:
    """Replace every secret that a pattern knows. What is left has none that they know."""
    counts: dict[str, int] = {}
    for pattern in PATTERNS:
        kind = pattern.kind

        def marked(found: re.Match[str], kind: str = kind) -> str:
            around = found.groupdict("")
            return f"{around.get('before', '')}[redacted:{kind}]{around.get('after', '')}"

        text, count = pattern.secret.subn(marked, text)
        if count:
            counts[kind] = count
    return Redacted(text, counts)
