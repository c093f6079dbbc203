"""What a run tells at its end."""

from flows.outcome import unreadable


def test_images_that_cannot_be_read_are_told_by_name() -> None:
    assert unreadable({"quarantined": 0}) == []
    assert unreadable({"quarantined": 1, "quarantine": ["a.png: empty: 0 bytes"]}) == [
        "1 image cannot be read; its row is only to review: a.png: empty: 0 bytes"
    ]
    reasons = [f"{i}.png: empty" for i in range(5)]
    assert unreadable({"quarantined": 1005, "quarantine": reasons}) == [
        "1,005 images cannot be read; their rows are only to review: 0.png: empty; 1.png: empty; 2.png: empty "
        "and 1,002 more"
    ]
