"""`/health` and `/metrics` on the wire server: state and numbers, no personal data."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods

from bcl.foundation import metrics


@require_http_methods(["GET"])
def health(request: HttpRequest) -> JsonResponse:
    """200 when this process can work, else 503, with one word per check."""
    state = metrics.check_health()
    return JsonResponse(state.as_json(), status=200 if state.healthy else 503)


@require_http_methods(["GET"])
def numbers(request: HttpRequest) -> HttpResponse:
    """This process's numbers in Prometheus' text format."""
    return HttpResponse(metrics.render(), content_type=metrics.CONTENT_TYPE)
