"""The worker side of cosyserve: engines and the loop that runs them. Imported only inside worker processes."""
