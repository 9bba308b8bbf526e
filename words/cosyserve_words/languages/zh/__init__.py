"""Chinese, in simplified and in traditional characters."""
