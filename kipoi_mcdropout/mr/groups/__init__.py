"""Groups of mutants with one ratio each, and the answer that they and the methods together give."""
