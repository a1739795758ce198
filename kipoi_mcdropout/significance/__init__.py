"""Whether an effect is real, and whether its error bar is right."""
