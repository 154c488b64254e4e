"""`serve`: the page to talk to trained models."""

from typing import Annotated

import typer


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8000,
) -> None:
    """A page on this machine: what a model writes, how sure it is of every token, where its heads look. Ctrl-C ends it.

    Example: python -m picollm serve --port 8080
    """
    from picollm.serving.server import Server

    with Server(port) as server:
        print(f"{server.address}  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nended")
