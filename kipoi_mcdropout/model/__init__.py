"""Any model made ready: adapters, labels, audit, predictions."""
