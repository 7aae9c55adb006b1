"""What a process does is seen, and that it does nothing is seen too."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from danlu import files
from danlu.parallel.activity import Activity, waits_for_disk


def test_one_that_waits_does_nothing() -> None:
    activity = Activity()
    activity.seen()
    for _ in range(5):  # each of which looks at itself anew: what looking takes is not counted
        time.sleep(0.05)
        assert not activity.seen()


def test_computing_in_another_thread_than_that_which_looks_is_seen() -> None:
    activity, over = Activity(), threading.Event()

    def compute() -> None:
        while not over.is_set():
            pass

    thread = threading.Thread(target=compute)
    thread.start()
    time.sleep(0.2)
    found = activity.seen()
    over.set()
    thread.join()
    assert found


def test_bytes_of_files_are_seen(tmp_path: Path) -> None:
    activity = Activity()
    thread = threading.Thread(target=(tmp_path / "file").write_bytes, args=(bytes(4096),))
    thread.start()
    thread.join()
    time.sleep(0.3)  # so that it is not the processor's time that is seen
    assert activity.seen()


def test_what_a_process_computes_that_it_has_started_is_seen() -> None:
    activity = Activity()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        time.sleep(0.5)
        activity.seen()
        time.sleep(0.5)
        found = activity.seen()
        child.kill()
    assert found
    time.sleep(0.1)
    activity.seen()
    time.sleep(0.3)
    assert not activity.seen()


def test_pieces_of_a_large_file_that_are_synced_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SYNC_BYTES", 1000)
    (tmp_path / "large").write_bytes(bytes(2500))
    before = files.synced()
    files.sync_file(tmp_path / "large")
    assert files.synced() == before + 3


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system tells of no threads")
def test_a_thread_whose_name_was_cut_within_a_letter_is_looked_at() -> None:
    """Linux keeps 15 bytes of it; an error here would end the signs of life of a rank that works."""
    name = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    was = name.read_bytes()
    name.write_bytes("训练模型的线程".encode()[:14])
    try:
        waits_for_disk()
    finally:
        name.write_bytes(was)
