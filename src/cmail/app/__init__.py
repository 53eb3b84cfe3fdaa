"""The composition root: reads the settings, builds the parts, hands each its neighbours."""
