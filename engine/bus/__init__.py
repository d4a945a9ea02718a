"""ZeroMQ: the only importer of zmq."""
