"""Arrays of any nesting, and numbers that are added up over draws."""
