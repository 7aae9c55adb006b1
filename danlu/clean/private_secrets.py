"""Keys, tokens and passwords, by the beginnings that their issuers give them so that they can be found.

The shapes are those that issuers document and that secret scanners (gitleaks, detect-secrets, TruffleHog) look for.
Each is looked for only in texts that hold its beginning, in a run of signs that is long enough for a key.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterator

from danlu.clean.private_page import Found, Page

_WORD = r"(?<![0-9A-Za-z_])"
_END = r"(?![0-9A-Za-z_])"
ISSUERS: dict[str, tuple[tuple[str, ...], str]] = {
    "Amazon": (("AKIA", "ASIA", "ABIA", "ACCA"), r"A(?:KIA|SIA|BIA|CCA)(?=[A-Z]{0,15}[0-9])[A-Z0-9]{16}"),
    "Alibaba": (("LTAI",), r"LTAI(?=[A-Za-z]{0,25}[0-9])[A-Za-z0-9]{12,26}"),
    "Tencent": (("AKID",), r"AKID(?=[A-Za-z]{0,31}[0-9])[A-Za-z0-9]{32}"),
    "Volcengine": (("AKLT",), r"AKLT(?=[A-Za-z]{0,39}[0-9])[A-Za-z0-9]{16,60}"),
    "Baidu": (("bce-v3/",), r"bce-v3/ALTAK-[A-Za-z0-9]{16,32}/[0-9a-f]{40}"),
    "GitHub": (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}+"),
    "GitHub, fine-grained": (("github_pat_",), r"github_pat_[A-Za-z0-9_]{22,255}+"),
    "GitLab": (
        ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-"),
        r"gl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{20,64}+(?:\.[0-9a-z.]{2,24}+)?",
    ),
    "Slack": (("xox",), r"xox[abeoprs]-(?=[A-Za-z-]{0,99}[0-9])[A-Za-z0-9-]{10,255}+"),
    "Slack, app": (("xapp-",), r"xapp-[0-9]-[A-Za-z0-9-]{20,255}+"),
    "Slack, webhook": (
        ("hooks.slack.com",),
        r"hooks\.slack\.com/services/T[A-Za-z0-9]{6,16}/B[A-Za-z0-9]{6,16}/[A-Za-z0-9]{16,32}",
    ),
    "Google": (("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
    "Google, OAuth": (("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,1024}+"),
    "Google, client": (("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_-]{28}"),
    "Azure, application": (("Q~",), r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}"),
    "Azure, DevOps": (("AZDO",), r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}"),
    "Stripe": (("k_live_", "k_test_"), r"[rsp]k_(?:live|test)_[A-Za-z0-9]{10,255}+"),
    "Stripe, webhook": (("whsec_",), r"whsec_[A-Za-z0-9+/=]{24,128}+"),
    "OpenAI, Anthropic, DeepSeek": (
        ("sk-",),
        r"sk-(?:[a-z]{2,10}[0-9]{0,2}-){0,2}(?=[A-Za-z_-]{0,99}[0-9])(?=[0-9a-z_-]{0,99}[A-Z]|[0-9a-f]{32})"
        r"[A-Za-z0-9_-]{20,255}+",
    ),
    "Groq, xAI, Perplexity": (("gsk_", "xai-", "pplx-"), r"(?:gsk_|xai-|pplx-)[A-Za-z0-9]{40,96}"),
    "Hugging Face": (("hf_",), r"hf_[A-Za-z0-9]{30,40}"),
    "Hugging Face, organisation": (("api_org_",), r"api_org_[A-Za-z0-9]{30,40}"),
    "Replicate": (("r8_",), r"r8_[A-Za-z0-9]{37}"),
    "npm": (("npm_",), r"npm_[A-Za-z0-9]{36}"),
    "PyPI": (("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{50,512}+"),
    "Docker": (("dckr_pat_",), r"dckr_pat_[A-Za-z0-9_-]{24,40}"),
    "SendGrid": (("SG.",), r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    "Twilio": (("SK",), r"SK[0-9a-f]{32}"),
    "Mailgun": (("key-",), r"key-[0-9a-f]{32}"),
    "Mailchimp": (("-us",), r"[0-9a-f]{32}-us[0-9]{1,2}"),
    "Square": (("sq0",), r"sq0(?:atp-[A-Za-z0-9_-]{22}|csp-[A-Za-z0-9_-]{43})"),
    "DigitalOcean": (("dop_v1_", "doo_v1_", "dor_v1_"), r"do[por]_v1_[0-9a-f]{64}"),
    "Databricks": (("dapi",), r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    "Shopify": (("shpat_", "shpss_", "shpca_", "shppa_"), r"shp(?:at|ss|ca|pa)_[0-9A-Fa-f]{32}"),
    "Atlassian": (("ATATT3xFf",), r"ATATT3xFf[A-Za-z0-9_=-]{40,300}+"),
    "Linear": (("lin_api_",), r"lin_api_[A-Za-z0-9]{32,48}"),
    "Figma": (("figd_",), r"figd_[A-Za-z0-9_-]{40,64}"),
    "Grafana": (("glsa_",), r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}"),
    "Sentry": (("sntrys_", "sntryu_"), r"sntry[su]_[A-Za-z0-9_=+/-]{40,255}+"),
    "HashiCorp Vault": (("hvs.",), r"hvs\.[A-Za-z0-9_-]{24,255}+"),
    "New Relic": (("NRAK-",), r"NRAK-[A-Z0-9]{27}"),
    "age": (("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    "Telegram": ((":AA",), r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,34}"),
    "Discord": ((".",), r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}"),
    "JSON web token": (
        ("eyJ",),
        r"eyJ[A-Za-z0-9_-]{8,512}+\.[A-Za-z0-9_-]{8,4096}+(?:\.[A-Za-z0-9_-]{0,1024}+)?",
    ),
}
"""By issuer how its keys begin, or what is in them, and their shape."""
_GATES = tuple((gate, re.compile(f"{_WORD}{shape}{_END}")) for gates, shape in ISSUERS.values() for gate in gates)
"""What a text must hold for a pattern to be looked for."""
_SIGN = r"[A-Za-z0-9_.+/=:~@!#$%^&*-]"
_SIGNS = string.ascii_letters + string.digits + "_.+/=:~@!#$%^&*-"
_ON_LINES = re.compile(rf"{_SIGN}{{1,4096}}+(?:\n{_SIGN}{{1,300}}+){{0,40}}+")
_LONGEST_LINE = 200
_PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(
    r"(?:\r?\n|  |[A-Z][A-Za-z-]{3,30}: [^\n]{1,100}+\n|[A-Za-z0-9+/=]{1,200}+(?=[\r\n]|  |\Z)){0,400}+"
)
_LONGEST_PEM = 20_000
_URL_PASSWORD = re.compile(r"://(?P<user>[^\s/:@?#'\"<>]{0,128}+):(?P<password>[^\s/@'\"<>]{1,128}+)@(?=[A-Za-z0-9\[])")
_PLACEHOLDER = re.compile(
    r"\[.{0,126}\]|\{.{0,126}\}|\$.{0,127}|%.{0,126}%|[*.x•]{1,128}|(?:your|my)?[-_]?(?:pass(?:word|wd)?|pwd|pw|secret|token)",
    re.IGNORECASE,
)
"""What documents write where a password would stand."""
_VALUE = (
    r"[\"'\s]{0,8}+(?:[:=]|=>|:=|是|为)[\"'\s]{0,8}+(?:bearer )?"
    r"(?P<value>(?:[a-z0-9+/_.~!@#$%^*-]|&(?![a-z0-9_.-]{1,32}=)){8,512}+={0,2})"
)
_ASSIGNED = {  # looked for in small letters, each by its beginning, which is fast
    "key": re.compile(rf"key(?:(?<=[a-z_-]key)|(?<=api key)|(?<=access key)){_VALUE}"),
    **{word: re.compile(word + _VALUE) for word in ("secret", "token", "密钥", "令牌")},
}
_PASSWORD_WORDS = (
    *("password", "passwd", "pwd", "passwort", "kennwort", "mot de passe", "contraseña", "senha", "hasło", "heslo"),
    *("wachtwoord", "lösenord", "parola", "şifre", "mật khẩu", "пароль", "κωδικός", "密码", "密碼", "口令"),
    *("パスワード", "비밀번호", "كلمة السر", "كلمة المرور", "رمز عبور", "סיסמה", "סיסמא", "รหัสผ่าน", "पासवर्ड"),
)
_PASSWORDS = {word: re.compile(word + _VALUE) for word in _PASSWORD_WORDS}
_GIVEN = _ASSIGNED | _PASSWORDS
_WORD_BEFORE = 48
"""Characters from the beginning of a word to its value, at most."""
_PASSWORD_IS = re.compile(
    rf"(?P<word>(?i:{'|'.join(_PASSWORD_WORDS)})) (?:is|was|ist|lautet|est|es|é|è|to) [\"'“«]?"
    r"(?P<value>(?=[^0-9\s]{0,63}[0-9])(?=[^A-Z\s]{0,63}[A-Z])(?=[^a-z\s]{0,63}[a-z])[A-Za-z0-9!@#$%^&*+=?]{8,64})"
    r"(?![A-Za-z0-9_/@-])"
)
"""``the password is Tr0ub4dor``: in prose, only what has small and capital letters and digits, and no hyphen."""
_LIKE_PASSWORD = re.compile(r"(?=[^0-9]{0,63}[0-9])(?=[^A-Za-z]{0,63}[A-Za-z])[^(){}\[\]]{8,64}\Z")
_SIGNATURE = re.compile(r"(?<![A-Za-z])sig=(?P<value>(?:[A-Za-z0-9+/]|%[0-9A-Fa-f]{2}){40,120}+)")
"""Of a URL that gives access for a time, as Azure's."""
_BEARER = re.compile(r"(?<![A-Za-z])(?:Bearer|Basic) (?P<value>[A-Za-z0-9._~+/-]{16,4096}+={0,2})")


def find_secrets(page: Page) -> Iterator[Found]:
    """Keys, tokens, passwords in URLs and private key blocks, each as the kind ``secret``."""
    text = page.text
    yield from _of_issuers(page)
    if "PRIVATE KEY" in text:
        yield from _key_blocks(text)
    if "@" in text and "://" in text:
        for found in _URL_PASSWORD.finditer(page.raw):
            if not _PLACEHOLDER.fullmatch(found["password"]):
                yield Found(*found.span("password"), "secret")
    if "%" in text and "sig=" in text:
        for found in _SIGNATURE.finditer(page.raw):
            yield Found(*found.span("value"), "secret")
    if page.long_runs and ("Bearer " in text or "Basic " in text):
        for found in _BEARER.finditer(text):
            if _looks_random(found["value"]):
                yield _without_full_stop(text, *found.span("value"))
    yield from _given(page)


def _given(page: Page) -> Iterator[Found]:
    """What stands behind ``password =`` and the like; all such values have a digit, which few long words have."""
    if not page.with_digits:
        return
    text, lower = page.text, page.lower
    near = "\n".join([lower[max(0, start - _WORD_BEFORE) : end] for start, end in page.with_digits])
    for word, pattern in (_GIVEN if page.long_runs else _PASSWORDS).items():
        if word in near:
            for found in pattern.finditer(lower):
                start, end = found.span("value")
                if _looks_random(text[start:end]) or (word in _PASSWORDS and _LIKE_PASSWORD.match(text[start:end])):
                    yield _without_full_stop(text, start, end)
            for found in _PASSWORD_IS.finditer(text) if word in _PASSWORDS else ():
                if found["word"].lower() == word:
                    yield _without_full_stop(text, *found.span("value"))


def _without_full_stop(text: str, start: int, end: int) -> Found:
    return Found(start, start + len(text[start:end].rstrip(".")), "secret")


def _of_issuers(page: Page) -> Iterator[Found]:
    runs = page.long_runs
    if not runs:
        return
    yield from _on_more_lines(page)
    together = " ".join([page.text[start:end] for start, end in runs])  # a small part of most texts
    for pattern in dict.fromkeys([pattern for gate, pattern in _GATES if gate in together]):
        for start, end in runs:
            for found in pattern.finditer(page.text, start, end):
                yield Found(*found.span(), "secret")


def _on_more_lines(page: Page) -> Iterator[Found]:
    """Keys that line ends part, one of whose parts is long."""
    text, lines = page.text, list(_long_lines(page))
    together = " ".join([text[start:end] for start, end in lines]).replace("\n", "")
    for pattern in dict.fromkeys([pattern for gate, pattern in _GATES if gate in together]):
        for start, end in lines:
            places: list[int] = []
            for found in pattern.finditer(text[start:end].replace("\n", "")):
                places = places or [place for place in range(start, end) if text[place] != "\n"]
                first, last = places[found.start()], places[found.end() - 1]
                whole = pattern.match(text, first, last + 1)  # on one line
                if whole is None or _looks_random(text[whole.end() : last + 1].strip().partition("\n")[0]):
                    yield Found(first, last + 1, "secret")


def _long_lines(page: Page) -> Iterator[tuple[int, int]]:
    """Where signs that keys are written with go on over line ends, with 16 or more on a line."""
    text, behind = page.text, 0
    for start, end in page.long_runs:
        if start >= behind and (text.startswith("\n", end) or text[start - 1 : start] == "\n"):
            before = text[max(0, start - _LONGEST_LINE) : start].removesuffix("\n")
            begin = start if text[start - 1 : start] != "\n" else start - 1 - len(before) + len(before.rstrip(_SIGNS))
            lines = _ON_LINES.match(text, begin)
            if lines is not None and "\n" in lines[0]:
                behind = lines.end()
                yield lines.span()


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
