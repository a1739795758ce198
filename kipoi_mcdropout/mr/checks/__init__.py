"""What must be known before an estimate is believed."""
