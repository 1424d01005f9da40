"""Any file to documents: which files there are, and what each of them holds."""
