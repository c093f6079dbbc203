import threading
from pathlib import Path

from pipeline.progress import PROGRESS_FILE, ProgressLine, ProgressWriter, read_progress


def test_lines_come_back_as_they_were_said(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path, interval=0)
    writer.report("train", 1, 10, "epoch", {"loss": 0.5, "note": "ok", "bad": float("nan")})
    writer.report("train", 10, 10, "epoch")
    writer.close()
    lines, offset = read_progress(tmp_path)
    assert [(line.phase, line.step, line.total, line.unit) for line in lines] == [
        ("train", 1, 10, "epoch"),
        ("train", 10, 10, "epoch"),
    ]
    assert lines[0].metrics == {"loss": 0.5, "note": "ok"}
    assert offset == (tmp_path / PROGRESS_FILE).stat().st_size
    assert read_progress(tmp_path, offset) == ([], offset)


def test_between_first_and_last_few_lines_are_written(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path, interval=60)
    for step in range(1001):
        writer.report("read", step, 1000)
    writer.report("write", 0, 0)
    for step in range(1000):
        writer.report("write", step, 0)
    writer.close()
    lines, _ = read_progress(tmp_path)
    assert [(line.phase, line.step) for line in lines] == [("read", 0), ("read", 1000), ("write", 0)]


def test_rate_and_remaining_time_belong_to_the_phase(tmp_path: Path) -> None:
    line = ProgressLine(time=0, step=25, total=100, rate=5)
    assert line.remaining_seconds == 15
    assert ProgressLine(time=0, step=5, total=100).remaining_seconds is None


def test_nothing_yet_is_no_error(tmp_path: Path) -> None:
    assert read_progress(tmp_path / "nowhere") == ([], 0)


def test_a_line_being_written_is_left_for_the_next_reading(tmp_path: Path) -> None:
    path = tmp_path / PROGRESS_FILE
    whole = ProgressLine(time=1, step=1).model_dump_json() + "\n"
    path.write_text(whole + '{"time": 2, "st')
    lines, offset = read_progress(tmp_path)
    assert [line.step for line in lines] == [1]
    assert offset == len(whole)


def test_a_line_torn_by_a_kill_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / PROGRESS_FILE).write_text('{"time": 2, "st')
    writer = ProgressWriter(tmp_path)
    writer.report("train", 7, 10)
    writer.close()
    assert [line.step for line in read_progress(tmp_path)[0]] == [7]


def test_reading_while_writing_sees_every_line_once(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path, interval=0)
    threading.Thread(target=lambda: [writer.report("p", n, 2000) for n in range(2001)]).start()
    seen: list[float] = []
    offset = 0
    while not seen or seen[-1] < 2000:
        lines, offset = read_progress(tmp_path, offset)
        seen += [line.step for line in lines]
    writer.close()
    assert seen == list(range(2001))
