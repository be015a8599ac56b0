import importlib.util
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pytest_mock import MockerFixture

from agent_mesh import Run, TerminalError

REPOSITORY = Path(__file__).resolve().parents[3]

if TYPE_CHECKING:
    from examples.digest import main
else:
    # As a deployed function is loaded: by its path, since a function's folder is no package.
    spec = importlib.util.spec_from_file_location("digest_main", REPOSITORY / "examples/digest/main.py")
    main = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = main
    spec.loader.exec_module(main)

ARTICLE = """\
---
title: front matter is not prose
---
# The mesh

The agent mesh runs agents. An agent mesh is a [control plane](https://example.com/a_b) for fleets of *agents*, and
every agent has a **budget**.

```python
budget = "never counted"
```

## Budgets

- A budget is reserved before an agent runs.
- It is settled with the real cost!

> Nobody overspends a budget.
"""


def texts(found: list[main.Term]) -> list[str]:
    return [term.text for term in found]


def test_counts_leave_out_front_matter_code_and_markup() -> None:
    counts = main.digest_of(ARTICLE).counts
    assert counts == main.Counts(
        words=2 + 5 + 17 + 1 + 8 + 7 + 4,
        unique_words=counts.unique_words,
        sentences=5,
        paragraphs=4,
        characters=len(ARTICLE),
    )


def test_unique_words_ignore_case() -> None:
    assert main.digest_of("The agent and the Agent AND the other.").counts.unique_words == 4


@pytest.mark.parametrize(("words", "seconds"), [(1, 1), (119, 30), (238, 60), (239, 61), (2380, 600)])
def test_reading_time_is_at_238_words_a_minute_rounded_up(words: int, seconds: int) -> None:
    assert main.digest_of("word " * words).reading_seconds == seconds


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (ARTICLE, "The mesh"),
        ("No heading at all.", None),
        ("## First\n\n# *Highest* `one` ##\n\n# Later\n", "Highest one"),
        ("Underlined\n===\n\nText.", "Underlined"),
        ("# C#\n", "C#"),
        ("#hashtag is no heading", None),
        ("```\n# in a fence\n```\n# outside\n", "outside"),
        ("````\n```\n# still inside\n````\n# outside\n", "outside"),
    ],
)
def test_the_title_is_the_first_of_the_highest_headings(text: str, title: str | None) -> None:
    assert main.digest_of(text).title == title


@pytest.mark.parametrize(
    ("markdown", "prose"),
    [
        ("See [the **docs**](https://e.org/x_y 'hint') now.", "See the docs now."),
        ("![a picture](x.png) here", "a picture here"),
        ("[![badge](b.svg)](https://e.org) build", "badge build"),
        ("a [reference][1] kept", "a reference kept"),
        ("visit <https://example.com/?q=1> soon", "visit soon"),
        ("one<br/>two <!-- hidden --> three", "one two three"),
        ("2 < 3 and 5 > 4", "2 < 3 and 5 > 4"),
        ("_emphasis_ but snake_case_name", "emphasis but snake_case_name"),
        ("| a | b |", "a b"),
    ],
)
def test_markup_goes_and_its_text_stays(markdown: str, prose: str) -> None:
    assert [block.text for block in main.blocks(markdown)] == [prose]


def test_an_open_fence_hides_the_rest_as_commonmark_says() -> None:
    assert main.digest_of("Before.\n~~~\nafter the fence").counts.words == 1


@pytest.mark.parametrize(
    ("prose", "sentences"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("Dr. Who met J. S. Bach. So did I. Then?", ["Dr. Who met J. S. Bach.", "So did I.", "Then?"]),
        ("It is 3.14, e.g. pi. Next.", ["It is 3.14, e.g. pi.", "Next."]),
        ('She said "Go." He went.', ['She said "Go."', "He went."]),
        ("Really?! Yes...", ["Really?!", "Yes..."]),
        ("今天天气很好。我们走！！再见", ["今天天气很好。", "我们走！！", "再见"]),
        ("यह है। वह है।", ["यह है।", "वह है।"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(prose: str, sentences: list[str]) -> None:
    assert [sentence for sentence in main.sentences_of(prose) if sentence] == sentences


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't re-run v1.2", ["don't", "re-run", "v1.2"]),
        ("l’été à Zürich", ["l’été", "à", "Zürich"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("🎉 -- 👍", []),
    ],
)
def test_words_are_those_of_the_script(text: str, words: list[str]) -> None:
    assert main.words_of(text) == words


def test_composed_and_decomposed_letters_are_the_same_word() -> None:
    assert main.digest_of("caf\u00e9 cafe\u0301").counts.unique_words == 1


def test_key_terms_prefer_what_returns_and_what_belongs_together() -> None:
    text = "The audit ledger grows. An audit ledger never shrinks. Every audit ledger is signed, says a passing remark."
    found = main.digest_of(text, terms=3).terms
    assert (found[0].text, found[0].occurrences) == ("audit ledger", 3)
    assert "ledger" not in texts(found)


def test_a_phrase_stops_at_stop_words_and_punctuation() -> None:
    spelled = [" ".join(phrase) for phrase, _ in main.phrases("Merkle tree of signed, sealed entries")]
    assert spelled == ["Merkle", "Merkle tree", "tree", "signed", "sealed", "sealed entries", "entries"]


def test_terms_keep_the_first_spelling_and_count_all() -> None:
    assert main.digest_of("OIDC matters. oidc stays.", terms=9).terms[0].text.startswith("OIDC")


def test_the_summary_quotes_whole_sentences_in_the_order_of_the_text() -> None:
    made = main.digest_of(ARTICLE, sentences=2)
    assert made.summary == [
        "An agent mesh is a control plane for fleets of agents, and every agent has a budget.",
        "A budget is reserved before an agent runs.",
    ]


def test_a_sentence_said_twice_is_not_summed_up_twice() -> None:
    text = "Agents settle their budgets daily. Agents settle their budgets daily. Ledgers keep signed receipts forever."
    assert main.digest_of(text, sentences=2).summary == [
        "Agents settle their budgets daily.",
        "Ledgers keep signed receipts forever.",
    ]


def test_equal_sentences_go_to_the_earlier_one() -> None:
    text = "Alpha beta gamma delta. Epsilon zeta eta theta. Iota kappa lambda omega."
    assert main.digest_of(text, sentences=2).summary == ["Alpha beta gamma delta.", "Epsilon zeta eta theta."]


def test_a_text_without_full_stops_is_cut_and_not_quoted_whole() -> None:
    (quoted,) = main.digest_of("endless stream " * 10_000).summary
    assert len(quoted) <= main.MAX_SENTENCE_CHARACTERS + 2
    assert quoted.endswith("stream …")


def test_nothing_asked_for_is_nothing_given() -> None:
    made = main.digest_of(ARTICLE, sentences=0, terms=0)
    assert (made.terms, made.summary) == ([], [])


@given(st.text(), st.integers(0, 20), st.integers(0, 50))
def test_any_text_has_one_digest_within_what_was_asked(text: str, sentences: int, terms: int) -> None:
    made = main.digest_of(text, sentences=sentences, terms=terms)
    assert made == main.digest_of(text, sentences=sentences, terms=terms)
    assert len(made.summary) <= min(sentences, made.counts.sentences)
    assert len(made.terms) <= terms
    assert made.counts.unique_words <= made.counts.words
    assert (made.counts.words > 0) or not made.reading_seconds


MARKUP = st.sampled_from(
    ["# ", "```\n", "---\n", "===\n", "[a](", "](b)", "> ", "- ", "**", "_", "<a ", "| ", "\n", "w. "]
)


@given(st.lists(MARKUP).map("".join))
def test_broken_markdown_still_has_a_digest(text: str) -> None:
    assert main.digest_of(text).counts.characters == len(text)


LONG = 1_000_000
HOSTILE = {
    "brackets": "[" * LONG,
    "links": "[a](" * (LONG // 4),
    "images": "![" * (LONG // 2),
    "tags": "<a" * (LONG // 2),
    "fences": "```\n" * (LONG // 4),
    "full stops": "." * LONG,
    "quoted full stops": ".)" * (LONG // 2),
    "underscores": "a" + "_" * LONG + "a",
    "heading of spaces": "#" + " " * LONG + "x",
    "underline": "a\n" + "=" * LONG + "x",
    "apostrophes": "a'" * (LONG // 2),
    "spaces": "a" + " " * LONG + "b",
    "quotes": ">" * LONG,
    "one word": "x" * LONG,
    "prose": "The quick agent settles a budget, and a ledger keeps it. " * (LONG // 57),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_four_times_as_long_a_text_takes_about_four_times_as_long_whatever_it_is(text: str) -> None:
    def seconds(some: str) -> float:
        started = time.thread_time()  # other threads of the process have their own work
        main.digest_of(some, sentences=20, terms=50)
        return time.thread_time() - started

    a_quarter = min(seconds(text[: len(text) // 4]) for _ in range(2))
    assert seconds(text) < 10 * max(a_quarter, 0.1)  # in step with the square of the length it would be 16


@pytest.mark.parametrize(("words", "cents"), [(1, 1), (10_000, 1), (10_001, 2)])
def test_a_long_document_costs_two_cents(words: int, cents: int) -> None:
    assert main.price_cents(words) == cents


@pytest.mark.parametrize(
    "request_",
    [{}, {"text": 1}, {"text": "a", "sentences": "3"}, {"text": "a", "terms": 51}, {"text": "a", "unknown": 1}],
)
def test_a_request_is_read_strictly(request_: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        main.DigestRequest.model_validate(request_)


def test_the_result_is_camel_case_json() -> None:
    sent = main.digest_of("Hello there, world.", name="greeting").model_dump(mode="json")
    assert sent["name"] == "greeting"
    assert sent["readingSeconds"] == 1
    assert sent["counts"]["uniqueWords"] == 3


@pytest.fixture
def run(mocker: MockerFixture) -> MagicMock:
    """A run as an agent's author sees it: to an example the SDK is somebody else's."""
    return cast("MagicMock", mocker.create_autospec(Run, instance=True))


def test_the_handler_charges_what_the_document_costs_and_reports(run: MagicMock) -> None:
    made = main.summarise(main.DigestRequest(text=ARTICLE, sentences=1, name="mesh.md"), run)
    assert (made.name, len(made.summary)) == ("mesh.md", 1)
    run.charge.assert_called_once_with(1)
    run.progress.assert_called_with("read 44 words", percent=100)


@pytest.mark.parametrize("text", ["", " \n\t", "```\nonly = code\n```", "---\n***\n", "🎉"])
def test_a_text_without_prose_is_refused_for_good_and_free(text: str, run: MagicMock) -> None:
    with pytest.raises(TerminalError) as refused:
        main.summarise(main.DigestRequest(text=text), run)
    assert refused.value.code == "empty_text"
    run.charge.assert_not_called()


def test_it_never_charges_more_than_it_declares() -> None:
    assert main.price_cents(10**9) == main.MAX_COST_CENTS
