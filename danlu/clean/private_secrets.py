"""Keys, tokens and passwords, by the beginnings that their issuers give them so that they can be found.

The shapes are those that issuers document and that secret scanners (gitleaks, detect-secrets, TruffleHog) look for.
Each is looked for only in texts that hold its beginning.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from danlu.clean.private_page import Found, Page

_WORD = r"(?<![0-9A-Za-z_])"
_END = r"(?![0-9A-Za-z_])"
_SHAPES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("AKIA", "ASIA", "ABIA", "ACCA"), r"A(?:KIA|SIA|BIA|CCA)(?=[A-Z]{0,15}[0-9])[A-Z0-9]{16}"),  # Amazon
    (("LTAI",), r"LTAI(?=[A-Za-z]{0,25}[0-9])[A-Za-z0-9]{12,26}"),  # Alibaba
    (("AKID",), r"AKID(?=[A-Za-z]{0,31}[0-9])[A-Za-z0-9]{32}"),  # Tencent
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}+"),  # GitHub
    (("github_pat_",), r"github_pat_[A-Za-z0-9_]{22,255}+"),
    (("glpat-",), r"glpat-[A-Za-z0-9_-]{20,64}+"),  # GitLab
    (("xox",), r"xox[abeoprs]-(?=[A-Za-z-]{0,99}[0-9])[A-Za-z0-9-]{10,255}+"),  # Slack
    (("xapp-",), r"xapp-[0-9]-[A-Za-z0-9-]{20,255}+"),
    (("hooks.slack.com",), r"hooks\.slack\.com/services/T[A-Za-z0-9]{6,16}/B[A-Za-z0-9]{6,16}/[A-Za-z0-9]{16,32}"),
    (("AIza",), r"AIza[A-Za-z0-9_-]{35}"),  # Google
    (("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,1024}+"),
    (("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_-]{28}"),
    (("k_live_", "k_test_"), r"[rsp]k_(?:live|test)_[A-Za-z0-9]{10,255}+"),  # Stripe
    (("whsec_",), r"whsec_[A-Za-z0-9+/=]{24,128}+"),
    (  # OpenAI, Anthropic
        ("sk-",),
        r"sk-(?:[a-z]{2,10}[0-9]{0,2}-){0,2}(?=[A-Za-z_-]{0,99}[0-9])(?=[0-9a-z_-]{0,99}[A-Z]|[0-9a-f]{32})"
        r"[A-Za-z0-9_-]{20,255}+",
    ),
    (("hf_",), r"hf_[A-Za-z0-9]{30,40}"),  # Hugging Face
    (("npm_",), r"npm_[A-Za-z0-9]{36}"),
    (("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{50,512}+"),
    (("SG.",), r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),  # SendGrid
    (("dop_v1_",), r"dop_v1_[0-9a-f]{64}"),  # DigitalOcean
    (("shpat_", "shpss_", "shpca_"), r"shp(?:at|ss|ca)_[0-9A-Fa-f]{32}"),  # Shopify
    ((":AA",), r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,34}"),  # Telegram
    (("eyJ",), r"eyJ[A-Za-z0-9_-]{8,512}+\.[A-Za-z0-9_-]{8,4096}+(?:\.[A-Za-z0-9_-]{0,1024}+)?"),  # JSON web tokens
)
_GATES = tuple(
    (gate, pattern) for gates, shape in _SHAPES for pattern in [re.compile(f"{_WORD}{shape}{_END}")] for gate in gates
)
"""What a text must hold for a pattern to be looked for."""
_PLAIN_GATES = tuple((gate, pattern) for gate, pattern in _GATES if "_" not in gate)
_PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(
    r"(?:\r?\n|\\n|[A-Z][A-Za-z-]{3,30}: [^\n]{1,100}+\n|[A-Za-z0-9+/=]{1,200}+(?=[\r\n\\]|\Z)){0,400}+"
)
_LONGEST_PEM = 20_000
_URL_PASSWORD = re.compile(r"://(?P<user>[^\s/:@?#'\"<>]{0,128}+):(?P<password>[^\s/@'\"<>]{1,128}+)@(?=[A-Za-z0-9\[])")
_PLACEHOLDER = re.compile(
    r"\[.{0,126}\]|\{.{0,126}\}|\$.{0,127}|%.{0,126}%|[*.x•]{1,128}|(?:your|my)?[-_]?(?:pass(?:word|wd)?|pwd|pw|secret|token)",
    re.IGNORECASE,
)
"""What documents write where a password would stand."""
_VALUE = r"[\"']?\s{0,3}(?:[:=]|=>|:=|是|为)\s{0,3}(?:bearer )?[\"']?(?P<value>[a-z0-9+/_.~!@#$%^&*-]{8,512}+={0,2})"
_ASSIGNED = {  # looked for in small letters, each by its beginning, which is fast
    "key": re.compile(rf"key(?:(?<=[a-z_-]key)|(?<=api key)|(?<=access key)){_VALUE}"),
    **{word: re.compile(word + _VALUE) for word in ("secret", "token", "密钥", "令牌")},
}
_PASSWORDS = {word: re.compile(word + _VALUE) for word in ("password", "passwd", "pwd", "密码", "口令")}
_GIVEN = _ASSIGNED | _PASSWORDS
_LIKE_PASSWORD = re.compile(r"(?=[^0-9]{0,63}[0-9])(?=[^A-Za-z]{0,63}[A-Za-z])[^(){}\[\]]{8,64}\Z")
_BEARER = re.compile(r"(?<![A-Za-z])(?:Bearer|Basic) (?P<value>[A-Za-z0-9._~+/-]{16,4096}+={0,2})")


def find_secrets(page: Page) -> Iterator[Found]:
    """Keys, tokens, passwords in URLs and private key blocks, each as the kind ``secret``."""
    text = page.text
    gates = _GATES if "_" in text else _PLAIN_GATES
    for pattern in dict.fromkeys([pattern for gate, pattern in gates if gate in text]):
        for found in pattern.finditer(text):
            yield Found(*found.span(), "secret")
    if "PRIVATE KEY" in text:
        yield from _key_blocks(text)
    if "://" in text and "@" in text:
        for found in _URL_PASSWORD.finditer(text):
            if not _PLACEHOLDER.fullmatch(found["password"]):
                yield Found(*found.span("password"), "secret")
    if "Bearer " in text or "Basic " in text:
        for found in _BEARER.finditer(text):
            if _looks_random(found["value"]):
                yield Found(*found.span("value"), "secret")
    for word, pattern in _GIVEN.items():
        if word in page.lower:
            for found in pattern.finditer(page.lower):
                start, end = found.span("value")
                if _looks_random(text[start:end]) or (word in _PASSWORDS and _LIKE_PASSWORD.match(text[start:end])):
                    yield Found(start, end, "secret")


def _key_blocks(text: str) -> Iterator[Found]:
    place = 0
    while begin := _PEM_BEGIN.search(text, place):
        end = _PEM_END.search(text, begin.end(), begin.end() + _LONGEST_PEM)
        if end is not None:
            place = end.end()
        else:  # the end is cut off: all lines that could be the key's
            body = _PEM_BODY.match(text, begin.end(), begin.end() + _LONGEST_PEM)
            place = begin.end() if body is None else max(begin.end(), body.end())
        yield Found(begin.start(), place, "secret")


def _looks_random(value: str) -> bool:
    """Letters and digits as no word or name has them: both, and three bits a character or more."""
    counts = Counter(value)
    if not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))) or len(value) < 16:
        return False
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return entropy >= 3.0
