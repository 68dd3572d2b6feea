"""Published tables against the laws that should return them."""
