"""`LookupPanel`: look activities up by hand, in a notebook."""

from b24frames.panel.widget import LookupPanel

__all__ = ["LookupPanel"]
