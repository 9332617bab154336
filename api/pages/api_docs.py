"""Every route of the API, to read and to try: Swagger UI with the document that the API gives of itself."""

from fastapi import Request, Response

from api.pages.guard import pages
from api.pages.rendering import render

router = pages()


@router.get("/docs")
def show_docs(request: Request) -> Response:
    """The page; what is tried there is sent with the session of the browser, or with a token that is given there."""
    return render(request, "docs.html")
