"""The admin address: metrics, and the pages."""
