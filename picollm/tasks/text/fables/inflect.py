"""English word forms by rule: verbs, plurals, the indefinite article. What the rules do not give stands in the data."""

import re
from collections.abc import Mapping

SIBILANT = re.compile(r"(s|sh|ch|x|z|o)$")
CONSONANT_Y = re.compile(r"[^aeiou]y$")
DOUBLING = re.compile(r"^[^aeiou]*[aeiou][^aeiouwxy]$")  # one syllable, one short vowel, one final consonant: stop, hug

Irregular = Mapping[str, str | Mapping[str, str]]  # a string alone is the past tense


def verb(base: str, form: str, plural: bool, irregular: Irregular) -> str:
    """`base` in one of the forms base, s (present), past, ing; `plural` is the subject's number."""
    known = irregular.get(base, {})
    known = {"past": known} if isinstance(known, str) else known
    if plural and f"{form}_plural" in known:
        return known[f"{form}_plural"]
    if form == "base" or (form == "s" and plural):
        return base
    if form in known:
        return known[form]
    if form == "s":
        return plural_of(base)  # the same endings
    assert form in ("past", "ing"), f"unknown form {form} of the verb {base}"
    if form == "ing" and base.endswith("e") and not base.endswith("ee"):
        return base[:-1] + "ing"
    if form == "past" and base.endswith("e"):
        return base + "d"
    if form == "past" and CONSONANT_Y.search(base):
        return base[:-1] + "ied"
    return base + (base[-1] if DOUBLING.search(base) else "") + ("ed" if form == "past" else "ing")


def plural_of(noun: str) -> str:
    if CONSONANT_Y.search(noun):
        return noun[:-1] + "ies"
    return noun + ("es" if SIBILANT.search(noun) else "s")


def with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
