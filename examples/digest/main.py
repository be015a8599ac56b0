"""An agent that digests a document: counts, reading time, key terms and the sentences that say most of it.

No model and no dictionary: the same text always gives the same digest, in time linear in its length. Any language is
counted and summarised; the key terms are best for English, whose stop words stand below.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import flask
import functions_framework
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from agent_mesh import Agent, Run, TerminalError

WORDS_PER_MINUTE: Final = 238
"""Silent reading of English non-fiction: Brysbaert (2019), Journal of Memory and Language 109, 104047."""

LONG_DOCUMENT_WORDS: Final = 10_000
MAX_COST_CENTS: Final = 2
MAX_TERM_WORDS: Final = 3
DAMPING: Final = 8
"""Words added to a sentence's length, so that "Agents work." sums up nothing, however frequent its words."""

MAX_SENTENCE_CHARACTERS: Final = 500
"""Where a quoted sentence is cut: a text without full stops would otherwise be its own summary."""


class Wire(BaseModel):
    """JSON in camelCase, strictly typed, without unknown fields."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        serialize_by_alias=True,
    )


class DigestRequest(Wire):
    """A document. The mesh takes payloads of up to 256 KiB of JSON, which is what bounds the text."""

    text: Annotated[str, Field(max_length=256 * 1024, description="Plain text or Markdown, in any language")]
    sentences: Annotated[int, Field(ge=0, le=20, description="Sentences in the summary, at most")] = 3
    terms: Annotated[int, Field(ge=0, le=50, description="Key terms, at most")] = 8
    name: Annotated[str, Field(max_length=255)] | None = None


class Counts(Wire):
    """Sizes of the prose, without code blocks and markup; `characters` is the length of the text as it was sent."""

    words: int
    unique_words: int
    sentences: int
    paragraphs: int
    characters: int


class Term(Wire):
    text: str
    occurrences: int
    score: float


class Digest(Wire):
    """What a reader wants to know before reading."""

    name: str | None
    title: str | None
    counts: Counts
    reading_seconds: int
    terms: list[Term]
    summary: list[str]


agent = Agent("digest", max_cost_cents=MAX_COST_CENTS)


@agent.handler
def summarise(payload: DigestRequest, run: Run) -> Digest:
    run.progress("reading", percent=0)
    made = digest_of(payload.text, sentences=payload.sentences, terms=payload.terms, name=payload.name)
    if not made.counts.words:
        raise TerminalError("The text holds no prose: code blocks and markup do not count.", code="empty_text")
    run.charge(price_cents(made.counts.words))
    run.progress(f"read {made.counts.words} words", percent=100)
    return made


@functions_framework.http
def digest(request: flask.Request) -> flask.Response:
    return agent.serve(request)


# The digest


def digest_of(text: str, *, sentences: int = 3, terms: int = 8, name: str | None = None) -> Digest:
    normalised = unicodedata.normalize("NFC", text)
    found = blocks(normalised)
    paragraphs = [block for block in found if not block.level]
    spoken = [
        sentence for paragraph in paragraphs for sentence in sentences_of(paragraph.text) if WORD.search(sentence)
    ]
    headings = [block.text for block in found if block.level]
    words = [normal(word) for line in (*headings, *spoken) for word in words_of(line)]
    return Digest(
        name=name,
        title=title_of(found),
        counts=Counts(
            words=len(words),
            unique_words=len(set(words)),
            sentences=len(spoken),
            paragraphs=len(paragraphs),
            characters=len(text),
        ),
        reading_seconds=math.ceil(len(words) * 60 / WORDS_PER_MINUTE),
        terms=key_terms((*headings, *spoken), terms),
        summary=summary_of(spoken, sentences),
    )


def price_cents(words: int) -> int:
    return 1 if words <= LONG_DOCUMENT_WORDS else MAX_COST_CENTS


# Markdown to prose


@dataclass(frozen=True)
class Block:
    """A paragraph, a list item or a heading, on one line and without markup."""

    text: str
    level: int = 0  # 1 to 6 for a heading


# Repetitions are bounded and exclude what starts the pattern, so that no text makes one slow.
FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
HEADING: Final = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
UNDERLINE: Final = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
RULE: Final = re.compile(r"[-*_=|:+ \t]+$")
ITEM: Final = re.compile(r"^[ \t>]{0,20}(?:[-*+•]|\d{1,9}[.)])[ \t]+")
QUOTE: Final = re.compile(r"^[ \t]{0,3}(?:>[ \t]?){1,20}")
LINK: Final = re.compile(r"!?\[([^\[\]\n]{0,1000})\](?:\([^()\n]{0,2000}\)|\[[^\[\]\n]{0,200}\])")
REFERENCE: Final = re.compile(r" {0,3}\[[^\[\]\n]{1,200}\]:[ \t]*\S")
TAG: Final = re.compile(r"<(?:/?[A-Za-z]|!--)[^<>\n]{0,2000}>")
AUTOLINK: Final = re.compile(r"<?https?://[^\s<>]{1,2000}>?")
EMPHASIS: Final = re.compile(r"[*`]|~~|(?<!\w)_{1,3}|_{1,3}(?!\w)")


def blocks(text: str) -> list[Block]:
    found: list[Block] = []
    paragraph: list[str] = []

    def end_paragraph() -> None:
        if prose := without_markup(" ".join(paragraph)):
            found.append(Block(prose))
        paragraph.clear()

    for line in prose_lines(text):
        if heading := HEADING.match(line):
            end_paragraph()
            found.append(Block(without_markup(without_closing(line[heading.end() :])), len(heading[1])))
        elif paragraph and (underline := UNDERLINE.match(line)):
            found.append(Block(without_markup(" ".join(paragraph)), 1 if underline[1].startswith("=") else 2))
            paragraph.clear()
        elif not line.strip() or RULE.match(line) or REFERENCE.match(line):
            end_paragraph()
        else:
            if ITEM.match(line):
                end_paragraph()
            paragraph.append(QUOTE.sub("", ITEM.sub("", line, count=1), count=1).strip())
    end_paragraph()
    return [block for block in found if block.text]


def prose_lines(text: str) -> Iterator[str]:
    """The lines outside front matter and code fences."""
    fence = ""
    for line in without_front_matter(text.splitlines()):
        mark = FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip(fence[0] + " \t"):
                fence = ""
        elif mark:
            fence = mark[1]
            yield ""
        else:
            yield line


def without_front_matter(lines: list[str]) -> list[str]:
    if lines and lines[0].rstrip() == "---":
        for number, line in enumerate(lines[1:], start=1):
            if line.rstrip() == "---":
                return lines[number + 1 :]
    return lines


def without_closing(heading: str) -> str:
    """The heading of "Why ##" is "Why", while "C#" keeps its sign."""
    opened = heading.strip().rstrip("#")
    return opened if not opened or opened[-1].isspace() else heading


def without_markup(line: str) -> str:
    line = LINK.sub(r"\1", LINK.sub(r"\1", line))  # twice, for an image in a link
    line = AUTOLINK.sub(" ", line)
    line = TAG.sub(" ", line)
    return " ".join(EMPHASIS.sub("", line.replace("|", " ")).split())


def title_of(found: Sequence[Block]) -> str | None:
    """The first heading of the highest level there is."""
    headings = [block for block in found if block.level]
    return min(headings, key=lambda block: block.level).text if headings else None


# Prose to sentences and words

# Python's \w leaves out the combining marks that Arabic, Hebrew, Indic and Thai words are written with.
MARKS: Final = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u109f"
)
# Chinese and Japanese put no space between words: as word processors do, each character counts as one.
IDEOGRAPHS: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
FIRST_IDEOGRAPH: Final = IDEOGRAPHS[0]
LETTERS: Final = f"(?:[^\\W_{IDEOGRAPHS}]|[{MARKS}])+"
WORD: Final = re.compile(f"[{IDEOGRAPHS}]|{LETTERS}(?:['’.-]{LETTERS})*")
SENTENCE_END: Final = re.compile(r"[.!?…؟।][\"'”’»)\]]{0,3}\s|[。！？](?![。！？])[」』”）]{0,3}\s?")
ABBREVIATIONS: Final = frozenset(
    "al approx cf dr e.g ed eds eq fig figs i.e inc jr ltd mr mrs ms no nos pp prof sec sr st vol vs".split()  # noqa: SIM905
)


def sentences_of(prose: str) -> Iterator[str]:
    start = 0
    for end in SENTENCE_END.finditer(prose):
        if not is_abbreviation(prose, end):
            yield prose[start : end.end()].strip()
            start = end.end()
    yield prose[start:].strip()


def is_abbreviation(prose: str, end: re.Match[str]) -> bool:
    """Whether this full stop belongs to its word: "Dr. Who", "J. S. Bach", "approx. two"."""
    if prose[end.start()] != "." or prose[end.start() - 1 : end.start()] == ".":
        return False
    before = prose[max(0, end.start() - 20) : end.start()].rsplit(" ", maxsplit=1)[-1].lstrip("(\"'“‘[")
    is_initial = len(before) == 1 and before.isupper() and before != "I"
    return is_initial or before.casefold() in ABBREVIATIONS or prose[end.end() : end.end() + 1].islower()


def words_of(sentence: str) -> list[str]:
    return WORD.findall(sentence)


# Key terms

STOP_WORDS: Final = frozenset(
    """
    a about above across actually after again against all almost along already also although always am among an and
    another any anyone anything are aren't around as at away back be became because become becomes been before behind
    being below between both but by came can can't cannot come comes could couldn't did didn't do does doesn't doing
    don't done down during each either else enough even ever every everyone everything few first for from further get
    gets give given gives go goes going got had hadn't has hasn't have haven't having he her here hers herself him
    himself his how however i i'd i'll i'm i've if in instead into is isn't it it's its itself just keep kept last later
    least less let let's like made make makes making many may maybe me might mine more most much must my myself near
    need needs neither never new next no nobody none nor not nothing now of off often on once one ones only onto or
    other others otherwise our ours out over own per perhaps put quite rather really same say says see seem seems
    several shall she should shouldn't since so some someone something sometimes soon still such take takes than that
    that's the their theirs them themselves then there there's therefore these they they're this those though three
    through thus to together too toward towards two under unless until up upon us use used uses using very via was
    wasn't way we we're we've well went were weren't what whatever when whenever where whether which while who whole
    whom whose why will with within without won't would wouldn't yes yet you you're your yours yourself
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
Phrase = tuple[str, ...]


def key_terms(sentences: Iterable[str], limit: int) -> list[Term]:
    """Phrases with the highest C-value (Frantzi, Ananiadou and Mima 2000); equal ones in the order of the text.

    A phrase counts for as often as it occurs, less the mean count of the longer phrases it is part of, times the
    logarithm of its length: "control plane" gives way to "serverless control plane" when it never stands alone.
    """
    spellings: dict[Phrase, Phrase] = {}
    occurrences: Counter[Phrase] = Counter()
    for sentence in sentences:
        for spelled, phrase in phrases(sentence):
            spellings.setdefault(phrase, spelled)
            occurrences[phrase] += 1
    scores = c_values(occurrences)
    best = without_repeats(sorted(scores, key=lambda phrase: -scores[phrase]), limit)
    return [Term(text=" ".join(spellings[p]), occurrences=occurrences[p], score=round(scores[p], 2)) for p in best]


def phrases(sentence: str) -> Iterator[tuple[Phrase, Phrase]]:
    """Each sequence of one to three content words with only spaces between, as spelled and in normal form."""
    spelled: Phrase = ()
    phrase: Phrase = ()
    position = 0
    for match in WORD.finditer(sentence):
        word = match[0]
        if not sentence[position : match.start()].isspace():
            spelled = phrase = ()
        position = match.end()
        if len(word) == 1 or not is_content(word):
            spelled = phrase = ()
            continue
        spelled = (*spelled[1 - MAX_TERM_WORDS :], word)
        phrase = (*phrase[1 - MAX_TERM_WORDS :], normal(word))
        for start in range(len(phrase)):
            yield spelled[start:], phrase[start:]


def c_values(occurrences: Counter[Phrase]) -> dict[Phrase, float]:
    longer: Counter[Phrase] = Counter()
    inside: Counter[Phrase] = Counter()
    for phrase, times in occurrences.items():
        for part in parts(phrase):
            longer[part] += 1
            inside[part] += times
    return {
        phrase: math.log2(len(phrase) + 1) * (times - (inside[phrase] / longer[phrase] if phrase in longer else 0))
        for phrase, times in occurrences.items()
    }


def parts(phrase: Phrase) -> set[Phrase]:
    """The shorter phrases in a phrase."""
    sizes = range(1, len(phrase))
    return {phrase[start : start + size] for size in sizes for start in range(len(phrase) - size + 1)}


def without_repeats(ranked: Iterable[Phrase], limit: int) -> list[Phrase]:
    """The first phrases of which none is part of one before it."""
    chosen: dict[Phrase, set[str]] = {}
    for phrase in ranked:
        if len(chosen) == limit:
            break
        words = set(phrase)
        if not any(words <= better for better in chosen.values()):
            chosen[phrase] = words
    return list(chosen)


def normal(word: str) -> str:
    return word.casefold().replace("’", "'")


def is_content(word: str) -> bool:
    says_something = len(word) > 1 or word >= FIRST_IDEOGRAPH
    return says_something and not word[0].isdigit() and normal(word) not in STOP_WORDS


# Summary


def summary_of(sentences: Sequence[str], limit: int) -> list[str]:
    """The sentences that say most, in the order of the text: SumBasic (Nenkova and Vanderwende 2005).

    A sentence scores the mean probability of its content words, damped for the short ones. The words of a chosen
    sentence have been said, so their probability is squared. Equal scores go to the earlier sentence.
    """
    contents = [[normal(word) for word in words_of(sentence) if is_content(word)] for sentence in sentences]
    frequency = Counter(word for content in contents for word in content)
    total = frequency.total()
    probability = {word: times / total for word, times in frequency.items()}
    candidates = set(range(len(sentences)))
    chosen: list[int] = []
    while candidates and len(chosen) < limit:
        best = max(candidates, key=lambda number: (weight(contents[number], probability), -number))
        for word in set(contents[best]):
            probability[word] **= 2
        candidates.remove(best)
        chosen.append(best)
    return [shortened(sentences[number]) for number in sorted(chosen)]


def weight(content: Sequence[str], probability: dict[str, float]) -> float:
    return sum(probability[word] for word in content) / (len(content) + DAMPING)


def shortened(sentence: str) -> str:
    if len(sentence) <= MAX_SENTENCE_CHARACTERS:
        return sentence
    cut = sentence[:MAX_SENTENCE_CHARACTERS]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + " …"
