"""The write pipeline: validate → draft (with atomize) → enrich → gate → commit, one stage a file.

Beside the pipeline are the other verbs that write: revise, mark, forget, erase, and the entries of a collection.
"""
