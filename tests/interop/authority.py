"""A certification authority for the run: valid and invalid certificates, made by openssl.

This module knows certificates, and nothing of mail.
"""

import os
import subprocess

NAMES = "DNS:localhost,IP:127.0.0.1"


class Authority:
    """Makes key pairs and certificates in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = self._authority("ca")
        self.stranger = self._authority("stranger")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=self.folder)

    def _authority(self, name):
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN=Interop {name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )
        return os.path.join(self.folder, name + ".pem")

    def issue(self, name, issuer="ca", names=NAMES, days=30):
        """A certificate and its key: the paths of both."""
        self._openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
        )
        with open(os.path.join(self.folder, f"{name}.ext"), "w") as file:
            file.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        end = ["-days", days] if days > 0 else ["-not_after", "20200102000000Z", "-not_before", "20200101000000Z"]
        if days > 0:
            self._openssl(
                "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-extfile", f"{name}.ext", *end,
            )
        else:
            self._expired(name, issuer)
        return self._pair(name)

    def _expired(self, name, issuer):
        # `openssl x509` of this version has no -not_after: `openssl ca` has.
        open(os.path.join(self.folder, "index.txt"), "w").close()
        with open(os.path.join(self.folder, "ca.cnf"), "w") as file:
            file.write(
                "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n"
                "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
            )
        self._openssl(
            "ca", "-batch", "-config", "ca.cnf", "-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key",
            "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext", "-notext",
            "-startdate", "20200101000000Z", "-enddate", "20200102000000Z",
        )

    def own(self, name, extension="basicConstraints=critical,CA:TRUE"):
        """A self-signed certificate that is marked as an authority, as some mail bridges use it."""
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-addext", extension,
        )
        return self._pair(name)

    def fingerprint(self, certificate):
        """The value for --pin: sha256:HEX."""
        done = subprocess.run(
            ["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"], check=True, capture_output=True
        )
        return "sha256:" + done.stdout.decode().strip().split("=", 1)[1].replace(":", "").lower()

    def _pair(self, name):
        paths = os.path.join(self.folder, name + ".pem"), os.path.join(self.folder, name + ".key")
        for path in paths:
            os.chmod(path, 0o644)  # daemons that drop root read them
        return paths
