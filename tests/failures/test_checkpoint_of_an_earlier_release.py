"""A checkpoint that does not say in which boot it was written: nobody has compared that image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from replicator.image import UNVERIFIED, ReplicaImage
from replicator.safeguards import ALL_SAFEGUARDS


def image(boot_id: int) -> ReplicaImage:
    runtime: Any = SimpleNamespace(boot_id=boot_id, emit=lambda *_: None)
    volume: Any = SimpleNamespace()
    return ReplicaImage(runtime, volume, "/replica/image", ALL_SAFEGUARDS)


@pytest.mark.parametrize("missing", [["boot_id"], ["boot_id", "unverified"]])
def test_it_is_read_and_its_image_counts_as_not_verified(missing: list[str]) -> None:
    state = image(7).state()
    for name in missing:
        del state[name]
    found = image(7)
    found.load(state)
    assert found.unverified == UNVERIFIED


def test_one_of_this_boot_says_itself_how_it_is() -> None:
    state = image(7).state()
    for said in ("", UNVERIFIED):
        found = image(7)
        found.load(state | {"unverified": said})
        assert found.unverified == said
    elsewhere = image(8)
    elsewhere.load(state)
    assert elsewhere.unverified == UNVERIFIED
