"""One module per sub-command: ``configure`` describes its options, ``run`` does it.

Nothing here is imported with torch until an argument line has been accepted.
"""
