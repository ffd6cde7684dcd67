"""What lies in Blob storage: parts, manifest and pointer for consumers; checkpoints and rows for us."""
