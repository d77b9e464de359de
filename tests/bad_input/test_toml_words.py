"""What is no TOML is told in our words: each message of Python's parser that we know is met."""

from __future__ import annotations

import re
import tomllib

import pytest

from replicator import toml_document

SAMPLES = (
    ("a = 1\na = 2\n", "this key was given before in its table, or is no table"),
    ("a = 1\n[a.b]\n", "this key was given before in its table, or is no table"),
    ("a = {b = 1, b = 2}\n", "the key 'b' stands twice in these braces"),
    ("[a]\n[a]\n", "this table was written before, or its name is taken"),
    ("a = {b = 1}\n[a.c]\n", "this table was written before, or its name is taken"),
    ("a = {b = 1}\na.c = 2\n", "this table was closed where it was written"),
    ("[a.b]\n[a]\nb.c = 1\n", "this table was written before, as keys with dots"),
    ('a = "x\n', "the line ends within a text: its closing quote is missing"),
    ('a = "\x01"\n', "the character '\\x01' may not stand here"),
    ('a = """x', "a text is not closed: its last quotes are missing"),
    (
        'a = "C:\\Mail"\n',
        "a backslash stands alone: write two, or single quotes around it",
    ),
    ('a = "\\u12"\n', "after a backslash and u or U stand 4 or 8 hexadecimal digits"),
    ('a = "\\uD800"\n', "a backslash and u or U name a character that there is none of"),
    ("a = [1\n", "a list is not closed: ] is missing, or a comma between entries"),
    ("a = {b = 1 c = 2}\n", "} is missing, or a comma between keys in braces"),
    ("a\n", "= is missing after a key"),
    ("a = 1 b = 2\n", "more stands on this line than one key and its value"),
    ("[[a]\n", "the table's header lacks its ]]"),
    ("a = 'x\n", '"\'" is missing'),
    ("[]\n", "no key begins with this character"),
    ("!a = 1\n", "neither a key nor a table's header begins so"),
    ("a = 2007-02-30\n", "the calendar has no such date, or the day no such time"),
    ("a = xyz\n", "this is no value"),
)


def message_of(text: str) -> str:
    with pytest.raises(tomllib.TOMLDecodeError) as found:
        tomllib.loads(text)
    return re.sub(r" \(at .*\)$", "", str(found.value))


@pytest.mark.parametrize(("text", "words"), SAMPLES)
def test_a_message_of_the_parser_is_told_in_our_words(text: str, words: str) -> None:
    assert toml_document._worded(message_of(text)) == words


def test_none_of_the_wordings_is_for_nothing() -> None:
    messages = [message_of(text) for text, _ in SAMPLES]
    for pattern, _ in toml_document._WORDS:
        assert any(re.fullmatch(pattern, message) for message in messages), pattern


def test_a_message_that_nobody_knows_stays_as_it_is() -> None:
    assert toml_document._worded("Something new") == "Something new"
