"""The plan's answer: its sentences by topic, the most important first.

Written for whoever signs the order: what to have stands on top, then what would mend a plan that
does not hold, then what the order does; what all of it rests on comes last.  Every figure is one of
the plan's frames, and spelled as the tables spell it (:mod:`simulator.plan.plan_units`); the
words compute nothing but what is the largest, or the earliest, of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.plan.plan_copy_words import copy_sentences
from simulator.plan.plan_kind_words import kind_sentences
from simulator.plan.plan_limit_words import limit_sentences, mending_sentences
from simulator.plan.plan_line_words import line_sentences
from simulator.plan.plan_outage_words import outage_sentences
from simulator.plan.plan_spool_words import spool_sentences, spool_topic
from simulator.plan.plan_words import basis_sentences, recovery_sentence
from simulator.plan.planner import Plan


@dataclass(frozen=True)
class Topic:
    """A part of the answer.

    Attributes
    ----------
    name: of one or two words: "Spool".
    sentences: at least one.
    """

    name: str
    sentences: tuple[str, ...]


def answer_topics(plan: Plan) -> list[Topic]:
    """The answer by topic; a topic of which nothing is to be said is not in it."""
    parts = (
        (spool_topic(plan), spool_sentences(plan)),
        ("To hold", mending_sentences(plan)),
        ("Kind", kind_sentences(plan)),
        ("Outage", outage_sentences(plan)),
        ("Line", line_sentences(plan)),
        ("Recovery", [recovery_sentence(plan)]),
        ("First copy", copy_sentences(plan)),
        ("Limits", limit_sentences(plan)),
        ("Rests on", basis_sentences(plan)),
    )
    told = ((name, tuple(each for each in sentences if each)) for name, sentences in parts)
    return [Topic(name, sentences) for name, sentences in told if sentences]


def answer_of(plan: Plan) -> list[str]:
    """The answer's sentences, without their topics."""
    return sentences_of(answer_topics(plan))


def sentences_of(topics: Iterable[Topic]) -> list[str]:
    """The sentences of topics, one after the other."""
    return [sentence for topic in topics for sentence in topic.sentences]
