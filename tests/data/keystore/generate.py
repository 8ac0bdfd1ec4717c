"""Makes and reads keystores of Beats without any code of ecsbeat: with `cryptography` of PyPI and the format as it is
in keystore/file_keystore.go of elastic/elastic-agent-libs.

    python3 generate.py                  writes beats.keystore beside this file
    python3 generate.py FILE             prints the names and values of FILE as JSON
"""

import base64
import json
import os
import pathlib
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ENTRIES = {"ES_PWD": "CANARY-from-python", "ecs.password": "päss,word ${X} \"#", "LINES": "one\ntwo\n", "EMPTY": ""}


def key(salt):
    return PBKDF2HMAC(hashes.SHA512(), length=32, salt=salt, iterations=10_000).derive(b"")


def seal(entries):
    # As Go's encoder writes it, with a line break at the end.
    values = {name: {"value": base64.b64encode(text.encode()).decode()} for name, text in sorted(entries.items())}
    content = json.dumps(values, separators=(",", ":")).encode() + b"\n"
    salt, nonce = os.urandom(64), os.urandom(12)
    return b"v1" + base64.b64encode(salt + nonce + AESGCM(key(salt)).encrypt(nonce, content, None))


def unseal(file):
    assert file[:2] == b"v1", file[:2]
    whole = base64.b64decode(file[2:], validate=True)
    salt, nonce, sealed = whole[:64], whole[64:76], whole[76:]
    values = json.loads(AESGCM(key(salt)).decrypt(nonce, sealed, None))
    return {name: base64.b64decode(entry["value"]).decode() for name, entry in values.items()}


if len(sys.argv) > 1:
    print(json.dumps(unseal(pathlib.Path(sys.argv[1]).read_bytes()), sort_keys=True))
else:
    pathlib.Path(__file__).with_name("beats.keystore").write_bytes(seal(ENTRIES))
