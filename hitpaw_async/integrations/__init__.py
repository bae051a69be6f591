"""At home in services: one thin module a framework. Nothing here is imported unless you import it.

| module | for | install |
|---|---|---|
| `integrations.starlette` | Starlette, and FastAPI, which is one | `pip install 'hitpaw-async[starlette]'` |
| `integrations.fastapi` | FastAPI's `Annotated[..., Depends(...)]` | `pip install 'hitpaw-async[fastapi]'` |
| `integrations.aiohttp` | aiohttp's server | `pip install 'hitpaw-async[aiohttp]'` |
| `integrations.otel` | OpenTelemetry (API only) | `pip install 'hitpaw-async[otel]'` |

How the library's errors become HTTP answers (RFC 9457, `application/problem+json`), the same everywhere:

| error | status | |
|---|---|---|
| `InvalidRequestError`, `InvalidVideoURLError`, `BadRequestError`, `MediaError` | 422 | the caller's video or wish |
| `JobNotFoundError` | 404 | |
| `ItemCancelledError` | 409 | it is never submitted, unless it is queued again |
| `SubmissionUnknownError` | 409 | not a 5xx: nobody's retries may pay a second time |
| `QueueFullError`, `RateLimitError` | 503 | with `Retry-After` |
| `BudgetExceededError` | 402 | the budget has no room for the video; it was not taken in; words go to the log alone |
| `InsufficientCreditsError` | 503 | the operator's money; its words go to the log alone |
| `JobTimeoutError` | 504 | |
| `TransportError`, `ProtocolError`, `ServerError`, `JobFailedError`, `DownloadError` | 502 | the vendor's side |
| `AuthenticationError`, `ConfigurationError`, `JournalError`, all others | 500 | the operator must act |
| `InternalError` | 500 | a bug to report |
"""
