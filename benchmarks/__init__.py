"""How fast is it, against what else one would use? Each module is one command; see RESULTS.md."""
