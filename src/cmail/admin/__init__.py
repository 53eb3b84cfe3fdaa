"""What an operator may ask; the commands and the page both call it."""
