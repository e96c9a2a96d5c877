"""What goes wrong between a client and a server, each in a line."""

LONGEST_DETAILS = 300


class ServingError(Exception):
    """What went wrong, in a line; asking again would not help."""


class TransientError(ServingError):
    """Asking again may help."""


# By gRPC's names of its codes; TF Serving answers REST requests with the HTTP statuses beside them.
MEANINGS = {
    "INVALID_ARGUMENT": "the request was refused",
    "NOT_FOUND": "there is no such model, version or label",
    "FAILED_PRECONDITION": "the model cannot answer this request",
    "UNIMPLEMENTED": "this is no TF Serving, or an older one",
    "UNAUTHENTICATED": "the server wants a token, or another one",
    "PERMISSION_DENIED": "the token does not allow this",
    "DEADLINE_EXCEEDED": "no answer within the time-out",
    "UNAVAILABLE": "no server answers there, or it is full",
    "RESOURCE_EXHAUSTED": (
        "the server is out of memory or its queue is full; smaller batches may help"
    ),
}
TRANSIENT = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}
CODE_OF_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_of(code: str, details: str) -> ServingError:
    text = f"{MEANINGS.get(code, 'the server failed')} ({code}: {plain(details)})"
    return TransientError(text) if code in TRANSIENT else ServingError(text)


def plain(text: str) -> str:
    """Returns the first line of a stranger's text, with nothing in it that a terminal acts on."""
    lines = text[: 10 * LONGEST_DETAILS].strip().splitlines() or ["no details"]
    return "".join(letter if letter.isprintable() else "?" for letter in lines[0][:LONGEST_DETAILS])
