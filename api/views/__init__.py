"""From rows to documents: one file a resource."""
