"""Check digits and other laws that numbers of people obey, each a small pure function.

Luhn (ISO/IEC 7812-1), MOD 97-10 (ISO 7064, ISO 13616 for IBANs), E.164 for telephone numbers, and
the rules of the national offices. `digits` are ASCII digits without separators.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

# Length of an IBAN by country.
IBAN_LENGTHS = {
    code: int(part.split(":")[0])
    for part in (
        "15:NO 16:BE 18:DK,FO,FI,GL,NL,SD 19:MK,SI 20:AT,BA,EE,KZ,LT,LU,MN,XK 21:HR,LI,LV,CH "
        "22:BG,BH,CR,DE,GB,GE,IE,ME,RS,VA 23:AE,GI,IL,IQ,OM,SO,TL 24:AD,CZ,ES,MD,PK,RO,SA,SE,SK,"
        "TN,VG 25:LY,PT,ST 26:IS,TR 27:BI,DJ,FR,GR,IT,MC,MR,SM 28:AL,AZ,BY,CY,DO,GT,HU,LB,NI,PL,SV "
        "29:BR,EG,PS,QA,UA 30:JO,KW,MU 31:MT,SC 32:LC 33:RU"
    ).split()
    for code in part.split(":")[1].split(",")
}
# Country calling codes; those of three digits by their first two.
_ONE = "1 7".split()
_TWO = (
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 "
    "65 66 81 82 84 86 90 91 92 93 94 95 98"
).split()
_THREE = (
    "211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 "
    "238 239 240 241 242 243 244 245 246 248 249 250 251 252 253 254 255 256 257 258 260 261 262 "
    "263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 "
    "371 372 373 374 375 376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500 501 502 "
    "503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 "
    "677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 850 852 853 855 856 880 886 960 "
    "961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 992 993 994 995 996 998"
).split()
CALLING_CODES = frozenset(_ONE + _TWO + _THREE)

_SPAIN = "TRWAGMYFPDXBNJZSQVHLCKE"
_FINLAND = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_ITALY_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3,
         6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
    )
)  # fmt: skip


def luhn(digits: str) -> bool:
    """Every second digit from the right is doubled, their digits add up to a multiple of 10."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def iban(text: str) -> bool:
    """Letters and digits without blanks: the country's length, and 1 modulo 97."""
    if IBAN_LENGTHS.get(text[:2]) != len(text) or not text.isalnum():
        return False
    rest = 0
    for letter in text[4:] + text[:4]:
        value = int(letter, 36)
        rest = (rest * (10 if value < 10 else 100) + value) % 97
    return rest == 1


def card(digits: str, grouped: bool) -> bool:
    """A payment card's length, issuer and Luhn digit; lengths that other numbers have too must be
    written in groups."""
    size, head = len(digits), int(digits[:4])
    issuer = (
        (size == 16 and (digits[0] == "4" or 5100 <= head <= 5599 or 2221 <= head <= 2720))
        or (size == 15 and digits[:2] in ("34", "37"))
        or (size == 16 and (head == 6011 or digits[:2] == "65" or 6440 <= head <= 6499))
        or (size == 16 and 3528 <= head <= 3589)
        or (size == 14 and grouped and (digits[:2] in ("36", "38") or 3000 <= head <= 3059))
        or (size == 16 and digits[:2] == "62")
        or (size == 19 and grouped and digits[:2] == "62")
    )
    return issuer and len(set(digits)) > 1 and luhn(digits)


def calling_code(digits: str) -> str:
    """The country's code that an international number begins with, or nothing."""
    return next((digits[:n] for n in (1, 2, 3) if digits[:n] in CALLING_CODES), "")


def is_date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


def _is_birthday(day: str, month: str, year: str) -> bool:
    # With two digits of the year either century may be meant; 2000 had a 29th of February.
    return is_date(2000 + int(year), int(month), int(day)) or is_date(
        1900 + int(year), int(month), int(day)
    )


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights))


def spain(text: str) -> bool:
    """DNI and NIE: the letter is the number modulo 23."""
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return _SPAIN[int(number) % 23] == text[-1]


def france(text: str) -> bool:
    """NIR: sex, year, month, place of birth; the last two digits complement it to 97."""
    month = int(text[3:5])
    body = text[:13].replace("2A", "19", 1) if text[5:7] == "2A" else text[:13]
    body = body[:5] + "18" + body[7:] if text[5:7] == "2B" else body
    return (1 <= month <= 12 or month >= 20) and 97 - int(body) % 97 == int(text[13:])


def italy(text: str) -> bool:
    """Codice fiscale: a letter of 15 others, odd and even ones weighted differently."""
    total = sum(_ITALY_ODD[letter] for letter in text[:15:2])
    total += sum(int(letter) if letter.isdigit() else ord(letter) - 65 for letter in text[1:15:2])
    return chr(65 + total % 26) == text[15]


def sweden(digits: str) -> bool:
    """Personnummer: year, month, day (plus 60 for coordination), three digits, Luhn."""
    ten = digits[-10:]
    day = int(ten[4:6])
    return _is_birthday(str(day - 60 if day > 60 else day), ten[2:4], ten[:2]) and luhn(ten)


def finland(text: str) -> bool:
    """Henkilötunnus: day, month, year, mark of the century, three digits, a check of 31."""
    number = int(text[:6] + text[7:10])
    return _is_birthday(text[:2], text[2:4], text[4:6]) and _FINLAND[number % 31] == text[10]


def norway(digits: str) -> bool:
    """Fødselsnummer: day (plus 40 for D-numbers), month, year, three digits, two checks."""
    day = int(digits[:2])
    date = _is_birthday(str(day - 40 if day > 40 else day), digits[2:4], digits[4:6])
    first = _weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
    return date and first and _weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def brazil(digits: str) -> bool:
    """CPF: two check digits modulo 11."""
    for size in (9, 10):
        check = _weighted(digits, range(size + 1, 1, -1)) * 10 % 11 % 10
        if check != int(digits[size]):
            return False
    return len(set(digits)) > 1


def netherlands(digits: str) -> bool:
    """BSN: the elevens test, the last digit counting negatively."""
    return int(digits) > 0 and _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def germany(digits: str) -> bool:
    """Steuer-Identifikationsnummer: ISO 7064 MOD 11,10, and one digit two or three times."""
    repeated = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return digits[0] != "0" and repeated[-1] in (2, 3) and (11 - product) % 10 == int(digits[10])


def poland(digits: str) -> bool:
    """PESEL: year, month (plus 20 for each century after 1900), day, four digits, a check."""
    month = int(digits[2:4]) % 20
    date = _is_birthday(digits[4:6], f"{month:02}", digits[:2])
    return date and _weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def united_states(digits: str) -> bool:
    """SSN: has no check digit; some areas, groups and serials are never given out."""
    area = int(digits[:3])
    return 0 < area < 900 and area != 666 and digits[3:5] != "00" and digits[5:] != "0000"


def national_health(digits: str) -> bool:
    """NHS number (England): modulo 11."""
    return int(digits) > 0 and _weighted(digits, range(10, 0, -1)) % 11 == 0
