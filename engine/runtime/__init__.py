"""What drives the actors: processes in real time, or everything in one process on virtual time."""
