"""A certificate with its private key, as Key Vault hands it out: PEM, or base64 of PKCS#12."""

import base64

from shared.errors import SecretUnavailable


def certificate_bytes(name: str, text: str) -> bytes:
    """The bytes that azure-identity takes. Raises `SecretUnavailable` when it is neither form.

    Key Vault keeps `application/x-pkcs12` as base64 and `application/x-pem-file` as it is; hand-made secrets
    often have no content type, so that the text itself decides.
    """
    if "-----BEGIN" in text:
        return text.strip().encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:  # the error of base64 among them; what is no ASCII has another, that quotes it
        pass
    raise unusable_certificate(name)


def unusable_certificate(name: str) -> SecretUnavailable:
    return SecretUnavailable(
        f"Key Vault secret {name} holds no usable certificate. Store an RSA certificate with its "
        "private key and without a password, as PEM or as PKCS#12 in base64."
    )
