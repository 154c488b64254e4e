"""How the texts of the grammar's data are written.

A text of the data is a sequence of pieces, written so:

    {wish} {wish.ing}     the value of a variable, in a form; a variable is drawn when it is first realised
    {wish.told}           its verbs in the tense of the story
    {hero_gender.-}       drawn but not printed
    {wish/i}              the same phrase as the hero would say it of himself (my instead of his)
    {hero} {hero@him}     a character, by name, pronoun or description as the context allows (@him: as an object)
    {hero!}               the same, but never a pronoun
    {hero.his}            this pronoun and nothing else
    ~jump ~be/p ~be/s     a verb to inflect, in the form that was asked for, in a template the tense of the story;
                          with a plural subject; with a singular one (whatever the person that the phrase is said in)
    ~be@crowd ~be.s@crowd agreeing with the number of a variable's value; the same in the present
    (little|young|)       one of several texts, equally likely
    [scope:...]           a span to be annotated; [hero.name:...] one that mentions a character
    ^                     what follows begins with a capital (as every sentence does)
"""

import re

TOKEN = re.compile(
    r"""\{(?P<name>[a-z_]+)(?P<full>!)?(?:@(?P<case>\w+))?(?:\.(?P<form>[\w-]+))?(?:/(?P<person>\w+))?\}
    | ~(?P<verb>[a-z]+)(?:\.(?P<tense>[a-z]+))?(?:@(?P<subject>[a-z_]+))?(?:/(?P<number>[ps]))?
    | \[(?:(?P<who>[a-z]+)\.)?(?P<label>[a-z]+):
    | (?P<mark>[()|\]^])
    | (?P<literal>[^{~\[()|\]^]+)""",
    re.VERBOSE,
)


def tokens_of(text: str) -> list[re.Match[str]]:
    """The text cut into the marks above and what stands between them."""
    tokens, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        assert match, f"cannot read {text[position:]!r} in {text!r}"
        tokens.append(match)
        position = match.end()
    return tokens
