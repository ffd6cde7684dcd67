"""A simulated tenant and local services, for laptops, demos and tests; never deployed."""
