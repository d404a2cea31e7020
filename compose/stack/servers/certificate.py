"""A certificate for this machine, by an authority that nobody trusts who is not told to."""

from pathlib import Path

import trustme


def certify(directory: Path) -> None:
    """Write `certificate.pem`, its `key.pem`, and `authority.pem`, which vouches for it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(directory / "authority.pem")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
