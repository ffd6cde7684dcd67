"""The pages that the measured sync reads, made beforehand: realistic objects, gzip, one file."""
