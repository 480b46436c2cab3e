"""Shows records as pages of HTML that need nothing else, and as fragments for notebooks."""
