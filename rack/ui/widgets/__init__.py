"""Widgets: values in by reactives, news out by messages; they know nothing of the server."""
