"""What goes wrong with images, in the words that a pod's status and events use."""

from __future__ import annotations

from typing import Literal

Reason = Literal["ErrImagePull", "InvalidImageName", "ErrImageNeverPull"]


class ImageError(Exception):
    """No image. `reason` is what a container waits with; `message` says why, with the registry's own words."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message


def pull_failed(message: str) -> ImageError:
    """An image that exists for all we know, and cannot be had."""
    return ImageError("ErrImagePull", message)
