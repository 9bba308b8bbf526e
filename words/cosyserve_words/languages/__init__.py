"""The languages that texts are read in, a module each; `find` knows them by their BCP 47 tags."""
