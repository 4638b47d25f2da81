"""Calls and batches to one portal: paced, and repeated where that helps."""

from b24frames.portal.portal import Portal

__all__ = ["Portal"]
