"""HTML pages that need nothing from elsewhere: one template for each kind of page, in
`templates`.
"""
