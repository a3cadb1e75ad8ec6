"""Parameters, each declared once; recipes; and the dependencies of each stage."""
