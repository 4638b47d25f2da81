"""Calls and batches to one portal, with pacing and retries."""

from b24frames.portal.portal import WEBHOOK_VARIABLE, Portal, as_portal

__all__ = ["WEBHOOK_VARIABLE", "Portal", "as_portal"]
