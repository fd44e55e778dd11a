"""What schemathesis doesn't know by itself: a piece of an upload goes out as the bytes it is."""

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def piece(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
