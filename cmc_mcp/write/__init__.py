"""The write pipeline: validate → atomize → enrich → index → gate → commit, one stage a file."""
