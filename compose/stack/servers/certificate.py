"""A certificate for this machine, by an authority of our own that no client trusts by default."""

from pathlib import Path

import trustme


def issue_certificate(directory: Path) -> None:
    """Write `certificate.pem`, its `key.pem`, and `authority.pem`, the authority that signed it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(directory / "authority.pem")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
