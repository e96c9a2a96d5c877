"""Says what goes wrong between a client and a server, each in a line."""

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
    """Returns the error that a code of gRPC means."""
    meaning = MEANINGS.get(code, "the server failed")
    text = f"{meaning} ({code}: {plain(details)})"
    if code in TRANSIENT:
        return TransientError(text)
    return ServingError(text)


def plain(text: str) -> str:
    """Returns the first line of a stranger's text, with nothing in it that a terminal acts on."""
    lines = text[: 10 * LONGEST_DETAILS].strip().splitlines()
    if not lines:
        return "no details"
    letters = []
    for letter in lines[0][:LONGEST_DETAILS]:
        letters.append(letter if letter.isprintable() else "?")
    return "".join(letters)
