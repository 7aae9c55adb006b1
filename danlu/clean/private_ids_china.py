"""Numbers of persons and organisations of mainland China, Hong Kong, Macau and Taiwan: their check digits."""

from __future__ import annotations

import datetime

PROVINCES = frozenset(
    map(
        str,
        [*range(11, 16), 21, 22, 23, *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83],
    )
)
"""The first two digits of a Chinese number (GB/T 2260; 83 since 2018 for residents from Taiwan)."""
LETTER_X = str.maketrans("ХхΧ×", "XXXX")
"""What looks like the check digit X: Cyrillic and Greek letters, the sign of multiplication."""
_TAIWAN = dict(zip("ABCDEFGHJKLMNPQRSTUVXYWZIO", range(10, 36), strict=True))


def is_chinese_id(number: str) -> bool:
    """18 digits, the last perhaps X: province, date of birth, check digit (GB 11643-1999, ISO 7064 MOD 11-2).

    Those of foreigners with permanent residence begin with 9 and the province (since 2023).
    """
    from stdnum.cn import ric

    bare = "".join(sign for sign in number.translate(LETTER_X) if sign.isalnum()).upper()
    place = bare[1:3] if bare[0] == "9" else bare[:2]
    return place in PROVINCES and is_birthday(bare[6:14]) and ric.calc_check_digit(bare) == bare[-1]


def is_old_chinese_id(number: str) -> bool:
    """15 digits without a check digit, given until 1999: province and date of birth."""
    return number[:2] in PROVINCES and is_birthday(f"19{number[6:12]}")


def is_birthday(yyyymmdd: str) -> bool:
    """Whether there was such a day, and a person may have been born on it."""
    try:
        day = datetime.date(int(yyyymmdd[:4]), int(yyyymmdd[4:6]), int(yyyymmdd[6:]))
    except ValueError:
        return False
    return 1880 <= day.year <= 2099


def is_social_credit_code(number: str) -> bool:
    """18 signs (GB 32100-2015): province, a code with a check sign of its own (GB 11714-1997), check sign."""
    from stdnum.cn import uscc

    weighted = sum(int(sign, 36) * weight for sign, weight in zip(number[8:16], (3, 7, 9, 10, 5, 8, 4, 2), strict=True))
    own = "0123456789X0"[11 - weighted % 11]
    return number[2:4] in (*PROVINCES, "10") and number[16] == own and bool(uscc.is_valid(number))


def is_taiwanese_id(number: str) -> bool:
    """A letter and nine digits; the letter counts as a number of two digits, 10 to 35."""
    letter = _TAIWAN[number[0]]
    weighted = [letter // 10, letter % 10 * 9]
    weighted += [int(digit) * weight for digit, weight in zip(number[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)]
    return sum(weighted) % 10 == 0


def is_hong_kong_id(number: str) -> bool:
    """One letter or two, six digits and a check digit, 10 written as A: weights 9 to 1, modulo 11."""
    bare = number.replace("(", "").replace(")", "").replace(" ", "").rjust(9)
    values = [36 if sign == " " else int(sign, 36) for sign in bare[:8]]
    check = int(bare[8], 36)
    return (sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) + check) % 11 == 0
