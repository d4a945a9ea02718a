"""TLS links: the only importer of sockets and ssl."""
