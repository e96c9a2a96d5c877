"""Files that anybody may have made: each is read within limits, or refused by an `InputError` that
names it.
"""
