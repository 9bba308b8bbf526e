"""What is written to what is said: numbers, dates, signs, addresses and markup as words of their language.

A text goes through four stages. `stretches` cuts it into pieces of one line at most and takes out what steers the
reading (line breaks, blocks of markdown, SSML). `markup.inline` makes a `Surface` of each piece, what the rules look
at: no inline markup, figures and signs in one width, and for every character the place where it was written.
`scanning` goes along it and lets the rules read, first those of every language (`common`), then those of the language
of that place (`tongues`). `segments` joins what was read into what is spoken in one go. `reading.read` is the way
through all four.

A language is a module of `languages` with an instance of `language.Language` named `LANGUAGE`, known to
`languages.find`: its words and its rules, the most particular first. A rule is a
pattern and a reader; a reader that returns None leaves the place to the next rule. What no rule takes is plain words,
and passes as it stands.
"""
