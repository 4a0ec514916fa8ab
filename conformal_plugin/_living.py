"""Whether a process of this machine is alive, on Windows, where signal 0 would end it."""

from __future__ import annotations

from typing import Final

__all__ = ["lives"]

_SYNCHRONIZE: Final = 0x00100000
_ACCESS_DENIED: Final = 5
_WAIT_TIMEOUT: Final = 258


def lives(pid: int) -> bool:
    """Whether there is such a process, of whomever, that has not ended."""
    import ctypes  # which other systems need not load

    windows = vars(ctypes)  # type checkers there know none of these names
    kernel = windows["WinDLL"]("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    found = kernel.OpenProcess(ctypes.c_ulong(_SYNCHRONIZE), False, ctypes.c_ulong(pid))
    if not found:
        return bool(windows["get_last_error"]() == _ACCESS_DENIED)
    handle = ctypes.c_void_p(found)
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == _WAIT_TIMEOUT)
    finally:
        kernel.CloseHandle(handle)
