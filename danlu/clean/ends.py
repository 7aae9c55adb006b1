"""How a line ends that is a sentence's last, in any script."""

from __future__ import annotations

STOPS = frozenset(
    "!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕᠃᠉᥄᥅᪨᪩᪪᪫\u1b4e\u1b4f᭚᭛᭞᭟᭽᭾\u1b7f᰻᰼᱾᱿․‼‽⁇⁈⁉⳹⳺⳻⸮⸼⹓⹔\u2e60\u2e61。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟"
    "꫰꫱꯫︒︕︖﹒﹖﹗！．？｡\U00010a56\U00010a57\U00010f55\U00010f56\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87"
    "\U00010f88\U00010f89\U00011047\U00011048\U000110be\U000110bf\U000110c0\U000110c1\U00011141\U00011142"
    "\U00011143\U000111c5\U000111c6\U000111cd\U000111de\U000111df\U00011238\U00011239\U0001123b\U0001123c"
    "\U000112a9\U000113d4\U000113d5\U0001144b\U0001144c\U000115c2\U000115c3\U000115c9\U000115ca\U000115cb"
    "\U000115cc\U000115cd\U000115ce\U000115cf\U000115d0\U000115d1\U000115d2\U000115d3\U000115d4\U000115d5"
    "\U000115d6\U000115d7\U00011641\U00011642\U0001173c\U0001173d\U0001173e\U00011944\U00011946\U00011a42"
    "\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8\U00011f43\U00011f44\U00016a6e"
    "\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44\U00016d6e\U00016d6f\U00016e98\U0001bc9f\U0001da88"
)
"""Marks that end a sentence: Unicode's property Sentence_Terminal."""
CLOSERS = "”’»」』）】〉》〕］｝)]}\"' \t\r\u3000"
"""What may stand behind such a mark, and white space."""
QUOTES = "\"'”’»」』"
"""What closes speech."""
UNMARKED = frozenset(map(chr, (*range(0x0E01, 0x0E3B), *range(0x0E40, 0x0E4F), *range(0x0E81, 0x0ECF))))
"""Letters, vowel signs and tones of Thai and Lao, which write no mark behind a sentence: FineWeb-2 asks none of their
lines to have one (Penedo et al. 2025, arXiv:2506.20920, settings of ``tha_Thai`` and ``lao_Laoo``)."""
CHINESE_ELLIPSES = ("……", "⋯⋯")


def ends_sentence(line: str) -> bool:
    """Whether a sentence may end with ``line``: with a mark that ends one, or a Chinese ellipsis, and what closes
    behind it; in Thai and Lao with any letter."""
    line = line.rstrip(CLOSERS)
    return line[-1:] in STOPS or line[-1:] in UNMARKED or line.endswith(CHINESE_ELLIPSES)
