"""The pandas accessor `.b24`: what it reads, and what it answers."""

from b24frames.accessor.accessor import FrameAccessor, register
from b24frames.accessor.reading import IdsAccessor

__all__ = ["FrameAccessor", "IdsAccessor", "register"]
