"""What is around the words: widths, markdown, HTML, LaTeX, SSML, the author's marks."""
