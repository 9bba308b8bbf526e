"""Jobs and workers: who runs where, what a death means, and the processes themselves."""
