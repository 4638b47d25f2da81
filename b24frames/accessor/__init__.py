"""The pandas accessor `.b24`: what it reads, and what it answers."""

from b24frames.accessor.accessor import FrameAccessor, IdsAccessor, register

__all__ = ["FrameAccessor", "IdsAccessor", "register"]
