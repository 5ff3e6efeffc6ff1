"""Public names and signatures, compared with public_api.txt, so that none changes by accident."""

from website.public_api import SNAPSHOT, public_api


def test_public_names_and_signatures_are_those_of_the_snapshot():
    assert public_api() == SNAPSHOT.read_text(encoding="utf-8"), (
        "The public API has changed. If this is on purpose, describe it in CHANGELOG.md and run "
        "`python -m website.public_api`."
    )
