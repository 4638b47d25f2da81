"""Calls and batches to one portal: paced, and repeated where that helps."""

from b24frames.portal.portal import WEBHOOK_VARIABLE, Portal, as_portal

__all__ = ["WEBHOOK_VARIABLE", "Portal", "as_portal"]
