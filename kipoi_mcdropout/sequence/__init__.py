"""One-hot sequences, edits of them, and the genome they come from."""
