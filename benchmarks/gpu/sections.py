"""The sections, each in a process of its own: what breaks one, or hangs, leaves the others alone.

A kernel that fails makes all later ones of its process fail, and a collective that waits for nobody
waits for ever.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from report import Finished, Report, Row
from setting import Setting

__all__ = ["SECTIONS", "Section", "carried_out"]


@dataclass(frozen=True)
class Section:
    """A module with ``run(setting, report)``.

    Attributes:
        name: for the table.
        module: its name.
        seconds: the most that it may take.
        decides: whether a failure is one of the package, so that the whole fails.
    """

    name: str
    module: str
    seconds: float
    decides: bool = True


# In the order of their worth, should time run out.
SECTIONS = (
    Section("the machine", "machine", 40),
    Section("equal to the CPU", "equality", 75),
    Section("no wait in a step", "no_wait", 40),
    Section("asked for", "asked_for", 30, decides=False),
    Section("speed", "core_speed", 90, decides=False),
    Section("mixed precision", "mixed_precision", 40),
    Section("ranks", "one_rank", 45),
    Section("share of a step", "step_share", 50, decides=False),
    Section("annotators", "annotating", 75, decides=False),
    Section("torch.compile", "compiling", 90),
)

# Imported once for all sections. The compiler is not where there is CUDA: what it imports in turn
# may ask the driver, which processes that are forked afterwards could not use.
_PRELOADED, _COMPILER = ("torch", "conformal_plugin.evaluation"), "torch._dynamo"
_REST = "all that follows"
_SOFT = 0.8  # of a section's time, after which it begins nothing new


def carried_out(section: Section, setting: Setting, left: float) -> Finished:
    """Run a section, for no longer than it may take and than there is time ``left`` for all."""
    done = Finished(section.name, section.decides)
    seconds = min(section.seconds, left)
    if seconds <= 0:
        done.rows.append(Row("all of it", "FAILED", note="no time was left for it"))
        return done
    began = time.monotonic()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED if setting.cuda else (*_PRELOADED, _COMPILER))
    receiving, sending = context.Pipe(duplex=False)
    told = replace(setting, seconds=_SOFT * seconds)
    process = context.Process(target=_work, args=(section.module, told, sending))
    process.start()
    sending.close()
    try:
        while receiving.poll(max(0.0, began + seconds - time.monotonic())):
            row = receiving.recv()
            if row is None:  # that was the last
                break
            done.rows.append(row)
        else:
            done.rows.append(Row(_REST, "FAILED", note=f"stopped after {seconds:.0f} s"))
            process.kill()
    except EOFError:  # of something that Python cannot catch
        done.rows.append(Row(_REST, "FAILED", note="the process died"))
    finally:
        receiving.close()
        process.join(timeout=2)
        process.kill()  # where it hangs in leaving
        process.join()
    done.seconds = round(time.monotonic() - began, 2)
    return done


def _work(module: str, setting: Setting, sending: Connection) -> None:
    """What the section's process does."""
    try:
        importlib.import_module(module).run(setting, Report(sending.send))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        note = f"{type(error).__name__}: {error} (line {last.lineno} of {last.filename})"
        sending.send(Row(_REST, "FAILED", note=note))
    sending.send(None)
