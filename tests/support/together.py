"""Work in several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any


def together(work: Callable[..., object], each: Iterable[tuple[Any, ...]]) -> None:
    """Call a function in one thread for each tuple of arguments; raise what was raised first in any of them."""
    failed: list[BaseException] = []

    def call(*arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=call, args=arguments) for arguments in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
