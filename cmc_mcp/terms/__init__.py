"""The terms of full text: what a passage is found by, and what a question looks for, in every language.

One tokenizer of our own for both backends, pure: text in, terms out. Terms that a text is made of count in its length;
additions (parts, joins, clitics, single characters, numbers, symbols …) only help to find it.

::

    passage      the terms of a stored text
    query        the terms of a question, with weights
    near         the terms of a vocabulary that are near a word: inflections, compounds, typos, beginnings

    normal       what spellings of the same text become before
    characters   which character is what, by Unicode 14 for good
    runs         a text cut into runs of one kind of writing
    latin, alphabets, unspaced, numbers    the terms of each kind
    porter       the stem of an English word, as SQLite makes it

English words are what SQLite's `porter unicode61` makes of them. Nothing here detects a language: what a language needs
follows from its alphabet.
"""
