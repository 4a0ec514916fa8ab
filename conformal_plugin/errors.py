"""Typed exceptions: each says what was expected, what came, and what to do."""

__all__ = [
    "AlphaError",
    "AnnotatorError",
    "CalibrationFileError",
    "ConformalError",
    "DeviceMismatchError",
    "EmptyCalibrationError",
    "InputTypeError",
    "LabelError",
    "MissingExtraError",
    "NotWorthUsingError",
    "OptionError",
    "ScoreError",
    "ShapeError",
    "SourceFileError",
    "TooFewImagesError",
    "UninformativeThresholdError",
]


class ConformalError(Exception):
    """Base of every exception that this package raises on purpose.

    Attributes:
        image: which of several images is to blame, counted from 0, and ``__cause__`` is the error
            of its own; None where no image is.
    """

    image: int | None = None


class InputTypeError(ConformalError, TypeError):
    """An object of a kind or dtype that cannot be read as scores or labels."""


class ShapeError(ConformalError, ValueError):
    """Shapes that do not fit the convention or each other."""


class DeviceMismatchError(ConformalError, ValueError):
    """Arguments that lie on different devices."""


class ScoreError(ConformalError, ValueError):
    """Class scores that are NaN or outside [0, 1]."""


class LabelError(ConformalError, ValueError):
    """Labels that are neither a class nor the ignore index."""


class AlphaError(ConformalError, ValueError):
    """A miscoverage level outside the open interval (0, 1)."""


class AnnotatorError(ConformalError, RuntimeError):
    """An annotator that failed on a photo: its own error, or what it gave is no class scores."""


class OptionError(ConformalError, ValueError):
    """An option with a value that it cannot take, or options that contradict each other."""


class EmptyCalibrationError(ConformalError, ValueError):
    """A calibration or evaluation set without a single labelled pixel."""


class UninformativeThresholdError(ConformalError, ValueError):
    """A threshold that puts every class into every prediction set, so nothing can be learnt."""


class NotWorthUsingError(ConformalError, ValueError):
    """Labels of an annotator that the labelled images speak against."""


class CalibrationFileError(ConformalError, ValueError):
    """A calibration file or saved state of another version or with damaged content."""


class TooFewImagesError(ConformalError, ValueError):
    """Classes that too few calibration images hold for the promise that was asked for."""


class SourceFileError(ConformalError, ValueError):
    """A map, label, photo or id list on disk that is missing or cannot be used as it is."""


class MissingExtraError(ConformalError, ImportError):
    """An optional package that the requested feature needs is not installed."""
