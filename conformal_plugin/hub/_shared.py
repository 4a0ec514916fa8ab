"""A calibration that somebody shared: fetched, checked, and pushed on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conformal_plugin._extras import optional
from conformal_plugin._messages import shortened
from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.hub._contents import CALIBRATION, CARD, CONTENTS, LABELS, Contents

__all__ = ["Shared"]

_DATA_SETS: Final = "datasets/"
_OURS: Final = [CARD, CONTENTS, CALIBRATION, f"{LABELS}/*"]


@dataclass(frozen=True, eq=False)
class Shared:
    """A folder that ``conformal-plugin card`` or :func:`conformal_plugin.hub.share` wrote.

    Attributes:
        folder: where it lies on this disk.
        calibration: what was shared.
        contents: what is known beside it: class names, the annotator's fingerprint, the license,
            and a digest of each file.
    """

    folder: Path
    calibration: Calibration
    contents: Contents

    @property
    def labels(self) -> Path | None:
        """The folder of labels; None where a calibration was shared alone."""
        return self.folder / LABELS if self._has_labels else None

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
    ) -> Shared:
        """Take a shared calibration from a folder, or from a repository of the Hugging Face Hub.

        Every file is held to its digest before anything is used. Only JSON and labels are fetched
        and read, and nothing is executed. The digests tell damage; whom you trust is told by the
        repository and, best, by ``revision``.

        Args:
            source: a folder, ``OWNER/NAME`` or, with labels, ``datasets/OWNER/NAME``.
            revision: branch, tag or commit of the repository.
            local_dir: where its files are to lie; by default in the Hub's cache.
            token: as for ``huggingface_hub.snapshot_download``.

        Raises:
            SourceFileError: it cannot be fetched, is no shared calibration, or is damaged.
            CalibrationFileError: its calibration cannot be read.
            OptionError: options of a repository with a folder.
            MissingExtraError: huggingface_hub is not installed, and ``source`` is no folder.
        """
        folder = Path(source)
        if not folder.is_dir():
            folder = _fetched(str(source), revision, local_dir, token)
        elif revision is not None or local_dir is not None:
            raise OptionError(
                f"{folder} is a folder on this disk, and revision and local_dir are about a "
                f"repository; leave them out"
            )
        contents = Contents.read(folder)
        contents.verify(folder)
        return cls(folder, Calibration.load(folder / CALIBRATION), contents)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str = "Share a calibration",
    ) -> str:
        """Upload the folder; labels make it a data set, and a calibration alone a model.

        The repository is made where it is missing. Labels there that are not in this folder go.

        Args:
            repo_id: ``OWNER/NAME``.
            private: whether a repository that is made is private; None for the owner's default.
            token: as for ``huggingface_hub.HfApi``.
            commit_message: what the commit is called.

        Returns:
            What :meth:`from_pretrained` takes it by.

        Raises:
            SourceFileError: a file of the folder has changed since it was written.
            MissingExtraError: huggingface_hub is not installed.
            OSError: what ``huggingface_hub.HfApi`` raises where the Hub refuses.
        """
        self.contents.verify(self.folder)
        kind = "dataset" if self._has_labels else "model"
        api = _client().HfApi(token=token, library_name="conformal-plugin")
        api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=self.folder,
            repo_type=kind,
            commit_message=commit_message,
            allow_patterns=_OURS,
            delete_patterns=[f"{LABELS}/*"],
        )
        return f"{_DATA_SETS if self._has_labels else ''}{repo_id}"

    @property
    def _has_labels(self) -> bool:
        return any(name.startswith(f"{LABELS}/") for name in self.contents.files)


def _fetched(
    source: str,
    revision: str | None,
    local_dir: str | os.PathLike[str] | None,
    token: str | bool | None,
) -> Path:
    """The folder that a repository was downloaded to."""
    options: dict[str, Any] = {"repo_type": "model"}
    if source.startswith(_DATA_SETS):
        options = {"repo_type": "dataset"}
    try:
        found = _client().snapshot_download(
            source.removeprefix(_DATA_SETS),
            revision=revision,
            local_dir=local_dir,
            token=token,
            allow_patterns=_OURS,
            **options,
        )
    except (OSError, ValueError) as error:  # the client's own errors, and names that cannot be
        reason = shortened(" ".join(str(error).split()))
        raise SourceFileError(
            f"{source} is no folder here, and cannot be fetched from the Hub ({reason}); name a "
            f"folder, OWNER/NAME, or datasets/OWNER/NAME"
        ) from error
    return Path(found)


def _client() -> Any:
    return optional("huggingface_hub", "huggingface_hub", "sharing on the Hub", "hub")
