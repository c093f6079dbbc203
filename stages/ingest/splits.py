"""The names of splits, as people write them."""

NAMES = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def split_of(name: str) -> str | None:
    """Understand the name of a split, None where it is none."""
    return NAMES.get(name.strip().lower())
