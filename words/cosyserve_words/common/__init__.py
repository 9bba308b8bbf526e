"""Rules of every language: addresses, paths, versions, signs, emoji, names with figures."""
