"""Letters and laws, in the order of the book."""
