"""Secrets are taken out of a text before it is stored, whatever the text is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.redaction import PATTERNS, redact

# Put together here, so that no scanner takes this file for a leak.
B = "a1B2c3D4e5F6g7H8i9J0"
SECRETS = {
    "private_key": "-----BEGIN RSA PRIVATE "
    + "KEY-----\nMIIEow\nabc==\n-----END RSA PRIVATE KEY-----",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + B,
    "aws_access_key": "AKIA" + "IOSFODNN7EXAMPLE",
    "github_token": "ghp_" + B + B,
    "gitlab_token": "glpat-" + B,
    "slack_token": "xoxb-" + "1234567890-" + B,
    "stripe_key": "sk_live_" + B,
    "anthropic_key": "sk-ant-" + "api03-" + B,
    "openai_key": "sk-proj-" + B,
    "google_key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
}
IN_PLACE = [
    ("authorization", "Authorization: Basic {}", "dXNlcjpwYXNz"),
    ("authorization", '"authorization": "Bearer {}"', "opaque.value-1"),
    ("bearer_token", "curl -H 'bearer {}'", B + B),
    ("url_password", "postgres://app:{}@db/main", "hunter2"),
    ("url_password", "redis://:{}@cache:6379/0", "p@ss:w0rd"),
    ("password", "password={}", "correcthorse"),
    ("password", 'PASSWORD: "{}"', "two words"),
    ("password", "db_passwd = '{}'", "it is long"),
    ("secret", "aws_secret_access_key = {}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"),
    ("secret", "API-KEY: {}", "0123456789abcdef"),
    ("secret", "refresh_token={}", "1//0gabcdefgh"),
]
HARMLESS = [
    "The token budget is 4000 tokens; max_tokens=4096 and token: none.",
    "Ask for the password at the desk. Secrets: see the vault.",
    "https://example.com:8080/a@b and mailto:someone@example.com",
    "skip sk-learn, task-runner-of-the-week and desk-chair-made-of-wood",
    "Basic understanding of bearer tokens is needed",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b, sha256 of the file",
    "AKIA is a prefix; eyJ begins a token; -----BEGIN CERTIFICATE-----",
]


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_of_a_known_form_is_taken_out_wherever_it_stands(kind: str) -> None:
    for text in ("{}", "use {} now", "key={}", '{{"k":"{}"}}', "({})", "a\n{}\nb", "x{{}}={};"):
        found = redact(text.format(SECRETS[kind]))
        assert SECRETS[kind] not in found.text
        assert found.counts == {kind: 1}
        assert f"[redacted:{kind}]" in found.text


@pytest.mark.parametrize(("kind", "text", "secret"), IN_PLACE)
def test_a_secret_known_by_its_place_is_taken_out_and_its_place_stays(
    kind: str, text: str, secret: str
) -> None:
    found = redact(text.format(secret))
    assert found.text == text.format(f"[redacted:{kind}]")
    assert found.counts == {kind: 1}


@pytest.mark.parametrize("text", HARMLESS)
def test_an_ordinary_sentence_is_left_alone(text: str) -> None:
    assert redact(text).text == text
    assert redact(text).counts == {}


def test_every_pattern_has_a_secret_here_and_a_row_in_the_docs() -> None:
    kinds = [pattern.kind for pattern in PATTERNS]
    assert set(kinds) == set(SECRETS) | {kind for kind, *_ in IN_PLACE}
    assert len(kinds) == len(set(kinds)) and all(pattern.example for pattern in PATTERNS)


def test_a_private_key_without_an_end_is_taken_out_to_the_end_of_the_text() -> None:
    text = "here: " + SECRETS["private_key"].split("-----END")[0]
    assert redact(text).text == "here: [redacted:private_key]"


words = st.sampled_from(
    [*SECRETS.values(), *(text.format(secret) for _, text, secret in IN_PLACE)]
    + [
        "token",
        "password",
        "secret",
        "=",
        ":",
        " ",
        '"',
        "'",
        "\n",
        "eyJ",
        "://",
        "@",
        "a.b",
        "-",
        ";",
    ]
    + ["Bearer ", "[redacted:", "]", "sk-", "AKIA", "x" * 30, "7"]
)


@given(st.lists(words | st.text(max_size=8), max_size=30).map("".join))
def test_what_is_left_has_no_secret_that_a_pattern_knows(text: str) -> None:
    once = redact(text)
    assert redact(once.text).text == once.text


@given(st.text(max_size=200), st.sampled_from(sorted(SECRETS)), st.text(max_size=200))
def test_no_text_around_it_hides_a_secret(before: str, kind: str, after: str) -> None:
    secret = SECRETS[kind]
    assert secret not in redact(f"{before} {secret} {after}").text


SLOW = [
    "eyJ", "eyJ-", "-----BEGIN PRIVATE KEY-----", "token", "token-", "token=", "password: ", "://a:",
    "a://", "bearer ", "authorization: ", "sk-", "AKIA", "x://u:p", "secret_", "-", "A", " ", '"',
    "key-key.", "api_key:", "eyJaaaaaaaa.", "hooks.slack.com/services/", "glpat-", "://:@", "@",
]  # fmt: skip


@pytest.mark.parametrize("part", SLOW)
def test_no_text_makes_it_slow(part: str) -> None:
    """32 KiB of what each pattern begins with; a pattern that tries again takes minutes."""
    text = (part * 32_768)[:32_768]
    begin = time.process_time()
    redact(text)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("first", SECRETS)
@pytest.mark.parametrize("second", SECRETS)
def test_a_secret_that_is_glued_to_another_is_found_too(first: str, second: str) -> None:
    clean = redact(SECRETS[first] + SECRETS[second])
    assert redact(clean.text).text == clean.text
