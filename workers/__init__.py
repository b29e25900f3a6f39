"""The RQ side: claims turns, delivers them, and takes back what the dead hold."""
