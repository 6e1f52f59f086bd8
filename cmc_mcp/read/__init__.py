"""The read pipeline: point → query → retrieve → rank → navigate → arrange → fit, one stage a file.

Beside it stands what reads without ranking: sources, versions, places, outcomes, the entries of a collection.
"""
