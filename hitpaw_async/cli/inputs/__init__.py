"""What comes in: videos, rows of lists, served folders and flags."""
