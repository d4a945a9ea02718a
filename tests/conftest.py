"""What takes longest starts first, so that no worker is left with it at the end; then what waits more than it computes."""

import os

FIRST = ("test_chaos.py", "test_killed_processes.py", "test_search.py")
FOLDERS = ("integration", "simulation")  # then the rest


def pytest_collection_modifyitems(items):
    def place(item):
        folder, name = os.path.split(item.path)
        folder = os.path.basename(folder)
        if folder not in FOLDERS:
            return len(FIRST), len(FOLDERS)
        return FIRST.index(name) if name in FIRST else len(FIRST), FOLDERS.index(folder)

    items.sort(key=place)
