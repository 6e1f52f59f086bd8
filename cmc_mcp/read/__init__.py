"""The read pipeline: point → query → retrieve → rank → navigate → arrange → fit, one stage a file.

Beside the pipeline are the reads without ranking: sources, versions, outlines, outcomes, the entries of a collection.
"""
