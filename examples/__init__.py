"""The corpus of `cmc demo`: fictional and original; what each file is stands in README.md."""
