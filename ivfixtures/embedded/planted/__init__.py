"""Subjects in which one claim is true or false by construction, and the command that makes them."""
