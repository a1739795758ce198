"""From the outputs of draws to effects and their summaries."""
