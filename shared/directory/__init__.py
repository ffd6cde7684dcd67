"""What a user, a group and a membership are, and how a directory is read and kept."""
