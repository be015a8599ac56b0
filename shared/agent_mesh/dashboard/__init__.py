"""What happens in the mesh, live, on one page."""
