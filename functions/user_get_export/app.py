"""GET /user/export: the newest export of the account, with the archive's URL if it is ready."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.exports import Export
from geminichat.errors import NotFound
from geminichat.operations import export_account
from geminichat.tables import exports, users


@endpoint(errors=[NotFound])
def handler(request: Request) -> Response[Export]:
    """Answer 200 with the export of the last 24 hours; its URL is valid for 15 minutes."""
    key = exports.key_of(request.user_id)
    _, known = users.read_current(request.caller, request.now, key)
    export = export_account.show(known, request.now)
    return ok(export, "This is your export.", headers=NO_STORE)
