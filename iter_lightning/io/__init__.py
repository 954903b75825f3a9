"""Write files and folders atomically, lock files, and read untrusted files."""
