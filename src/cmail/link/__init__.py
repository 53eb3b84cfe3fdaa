"""What is on line, its clock and its kicks; asks nobody above."""
