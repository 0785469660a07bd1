"""Tools of the repository itself: they make the figures and the generated pages of the documentation."""
