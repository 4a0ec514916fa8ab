"""A run of a host on disk, which the doctor examines and a test makes ill."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from conformal_plugin.calibration import Calibration

CLASSES, HEIGHT, WIDTH = 4, 6, 5
LABELLED = 10


@dataclass
class Patient:
    """A run of a host on disk: everything that the doctor looks at."""

    host: Path
    data: Path
    config: Path
    labelled: Path
    unlabelled: Path

    def examine(self, run, *arguments: object) -> SimpleNamespace:
        """Run the doctor; findings by the name of their check."""
        done = run(
            "doctor", self.host, "--config", self.config, "--json",
            "--labeled-id-path", self.labelled, "--unlabeled-id-path", self.unlabelled, *arguments,
        )  # fmt: skip
        findings = json.loads(done.out)["findings"]
        return SimpleNamespace(code=done.code, err=done.err, findings=findings)

    def only(self, run, check: str, level: str, *arguments: object) -> dict[str, Any]:
        """The one finding of a check at a level; an error must set the exit code, and alone."""
        seen = self.examine(run, *arguments)
        found = [f for f in seen.findings if (f["check"], f["level"]) == (check, level)]
        assert len(found) == 1, seen.findings
        errors = any(f["level"] == "error" for f in seen.findings)
        assert seen.code == (2 if errors else 0)
        return found[0]

    def configure(self, **changes: object) -> None:
        """Change keys of the config; None takes one out."""
        cfg = yaml.safe_load(self.config.read_text())
        cfg.update(changes)
        cfg = {key: value for key, value in cfg.items() if value is not None}
        self.config.write_text(yaml.safe_dump(cfg))

    def conform(self, **changes: object) -> None:
        """Change keys of its ``conformal:`` block."""
        cfg = yaml.safe_load(self.config.read_text())
        self.configure(conformal=cfg["conformal"] | changes)

    def calibration(self, **changes: Any) -> None:
        """Change what the calibration file says."""
        path = self.data / "calibration.json"
        dataclasses.replace(Calibration.load(path), **changes).save(path)

    def settings(self, **changes: object) -> None:
        """Change what lies beside the pseudo-labels."""
        path = self.data / "pseudo" / "labels.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def pseudo(self, name: str) -> Path:
        return self.data / "pseudo" / f"{name}.png"

    @property
    def unlabelled_names(self) -> list[str]:
        return [Path(line.split()[0]).stem for line in self.unlabelled.read_text().splitlines()]
