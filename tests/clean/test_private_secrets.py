from __future__ import annotations

import pytest

from danlu.clean.private import find_private


@pytest.mark.parametrize(
    "word",
    [
        *(
            "пароль",
            "パスワード",
            "비밀번호",
            "كلمة السر",
            "كلمة المرور",
            "contraseña",
            "mot de passe ",
            "Passwort",
            "סיסמה",
        ),
        *("รหัสผ่าน", "senha", "hasło", "şifre", "mật khẩu", "密碼"),
    ],
)
def test_a_password_behind_the_word_for_it_in_any_language_is_found(word: str) -> None:
    text = f"{word}: Tr0ub4dor&3x"

    assert [text[found.start : found.end] for found in find_private(text)] == ["Tr0ub4dor&3x"]
    assert find_private(f"{word}: 12 {word}") == []
