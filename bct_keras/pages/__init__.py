"""HTML pages that need nothing from elsewhere.

There is one template for each kind of page, in `templates`.
"""
