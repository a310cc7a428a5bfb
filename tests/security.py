"""What files of strangers are made of: payloads that leave a mark if anything in them runs."""

import os
import pickle

MARK = "ran"

MARKUP = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>javascript:alert(3)"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


class Payload:
    """Leaves a mark in the folder of work when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (MARK,)


def pickled():
    return pickle.dumps(Payload())
