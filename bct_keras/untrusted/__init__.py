"""Reads files that anybody may have made.

Each is read within limits, or refused by an `InputError` that names it.
"""
