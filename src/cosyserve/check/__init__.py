"""What an engine and a machine need, told without importing them."""
