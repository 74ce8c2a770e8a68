"""google-generativeai for what we use of it: REST, an API key, one method of one service.

It imports all that it could ever need at once: gRPC, cryptography, pydantic, a client for files.
What is left out here the layer does not have at all (layers/gemini/layer.toml).
"""

from collections.abc import Callable, Mapping
from typing import Any

from geminichat.runtime import http_client, trimmed_imports

__all__ = [
    "GenerativeModel",
    "ParseError",
    "RequestException",
    "RequestOptions",
    "configure",
    "google_errors",
    "share_tls",
]


class _Never:
    """A class that nothing is an instance of."""


def _as_it_is[Call: Callable[..., Any]](call: Call) -> Call:
    """Return the call: over REST it raises no error of gRPC's that had to be translated."""
    return call


_V1BETA = "google.ai.generativelanguage_v1beta"
_SERVICE = f"{_V1BETA}.services.generative_service"

_UNOPENED = [
    _V1BETA,
    f"{_V1BETA}.types",
    _SERVICE,
    f"{_SERVICE}.transports",
    "google.api_core",
    "google.api_core.gapic_v1",
    "google.generativeai",
    "google.generativeai.types",
]
_LEFT_OUT: Mapping[str, Mapping[str, Any] | None] = {
    "asyncio": {},
    "charset_normalizer": {"__version__": "3.0.0"},  # one that requests takes
    "google.api_core.grpc_helpers": {"wrap_errors": _as_it_is},
    "google.api_core.operations_v1": {},
    "google.auth.transport.grpc": {"SslCredentials": None},
    "google.generativeai.caching": {},
    "google.oauth2.service_account": {"Credentials": _Never},
    "googleapiclient": {},
    "googleapiclient.discovery": {},
    "googleapiclient.http": {},
    "grpc": None,
    "httplib2": {},
    "importlib.metadata": {"version": None},  # for HTTP/2, which urllib3 is not asked for
    "pydantic": {},
    "subprocess": {},
    "zipfile": {},
    f"{_SERVICE}.transports.grpc": {"GenerativeServiceGrpcTransport": None},
    f"{_SERVICE}.transports.grpc_asyncio": {"GenerativeServiceGrpcAsyncIOTransport": None},
}

with trimmed_imports.skip_modules(_LEFT_OUT, _UNOPENED):
    import google.api_core.gapic_v1.client_info
    import google.api_core.gapic_v1.method
    import google.api_core.gapic_v1.routing_header  # noqa: F401 (the client's modules use all three)
    from google.ai.generativelanguage_v1beta.services.generative_service.client import (
        GenerativeServiceClient,
    )
    from google.ai.generativelanguage_v1beta.types import content, file, generative_service, safety

    _protos = {
        name: vars(module)[name]
        for module in (content, file, generative_service, safety)
        for name in module.__protobuf__.manifest
    }
    _clients = {
        "FileServiceAsyncClient": object,
        "FileServiceClient": object,
        "GenerativeServiceClient": GenerativeServiceClient,
    }
    with trimmed_imports.skip_modules(
        {"google.ai.generativelanguage": _clients, "google.generativeai.protos": _protos}
    ):
        from google.generativeai.client import configure, get_default_generative_client
        from google.generativeai.generative_models import GenerativeModel
        from google.generativeai.types.helper_types import RequestOptions

    from google.api_core import exceptions as google_errors
    from google.protobuf.json_format import ParseError
    from requests.adapters import HTTPAdapter
    from requests.exceptions import RequestException


class _OneContext(HTTPAdapter):
    """Connections with one TLS context: else each reads the trusted certificates, some 30 ms."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=http_client.tls())

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=http_client.tls())

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        if isinstance(verify, str):  # certificates that the environment names for requests
            super().cert_verify(conn, url, verify, cert)
        else:
            conn.cert_reqs = "CERT_REQUIRED"


def share_tls() -> None:
    """Have the client that is configured now share our HTTP's TLS context."""
    session = get_default_generative_client().transport._session
    session.mount("https://", _OneContext())
