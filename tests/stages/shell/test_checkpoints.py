import time
from pathlib import Path

import pytest

from pipeline.store import Store, open_store
from stages.shell.checkpoints import Checkpoints


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def save(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        checkpoints.save(step, lambda folder, step=step: (folder / "state").write_text(f"at {step}"))


def newest(checkpoints: Checkpoints) -> tuple[int, str] | None:
    found = checkpoints.latest()
    return found and (found[0], found[1].path("state").read_text())


def test_another_attempt_goes_on_from_the_newest(store: Store) -> None:
    save(Checkpoints(store, "k1", 60), 1, 2, 10)
    save(Checkpoints(store, "k2", 60), 99)
    assert newest(Checkpoints(store, "k1", 60)) == (10, "at 10")
    assert newest(Checkpoints(store, "k3", 60)) is None


def test_one_older_is_kept(store: Store) -> None:
    save(Checkpoints(store, "k1", 60), 1, 2, 3, 4)
    assert [name.split("-")[0] for name in store.children("checkpoints/k1")] == ["000000000003", "000000000004"]


@pytest.mark.parametrize("damage", ["torn", "gone", "manifest", "no manifest"])
def test_a_damaged_newest_gives_way_to_the_older(store: Store, damage: str) -> None:
    save(Checkpoints(store, "k1", 60), 3, 4)
    place = f"checkpoints/k1/{store.children('checkpoints/k1')[-1]}"
    match damage:
        case "torn":
            store.replace(f"{place}/state", b"at")
        case "gone":
            store.remove(f"{place}/state")
        case "manifest":
            store.replace(f"{place}/manifest.json", b"{")
        case _:
            store.remove(f"{place}/manifest.json")
    again = Checkpoints(store, "k1", 60)
    assert newest(again) == (3, "at 3")
    save(again, 5, 6)
    assert newest(again) == (6, "at 6")


def test_a_checkpoint_that_fails_leaves_the_older_one(store: Store) -> None:
    checkpoints = Checkpoints(store, "k1", 60)
    save(checkpoints, 1)

    def broken(folder: Path) -> None:
        (folder / "state").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(2, broken)
    assert newest(checkpoints) == (1, "at 1")
    assert store.children(".staging") == []


def test_they_are_due_by_the_clock(store: Store) -> None:
    checkpoints = Checkpoints(store, "k1", 0.05)
    assert not checkpoints.due()
    time.sleep(0.06)
    assert checkpoints.due()
    save(checkpoints, 1)
    assert not checkpoints.due()


def test_clearing_leaves_none_and_nothing_of_others(store: Store) -> None:
    save(Checkpoints(store, "k1", 60), 1)
    save(Checkpoints(store, "k10", 60), 1)
    Checkpoints(store, "k1", 60).clear()
    Checkpoints(store, "k1", 60).clear()
    assert store.children("checkpoints") == ["k10"]
