"""Pictures for people: grids and plots. The only room that imports matplotlib."""
