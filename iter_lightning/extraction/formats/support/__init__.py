"""What all formats share: streams, records, the registry, counted losses, and atomic output."""
