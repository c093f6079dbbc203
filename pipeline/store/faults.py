"""Say in a user's words why a store could not be read or written."""

import errno

from pipeline.errors import DiskFullError, StoreError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def explain_local(error: OSError, url: str) -> StoreError:
    """Explain a fault of a folder."""
    what = error.strerror or str(error)
    if error.errno in NO_SPACE:
        remedy = "Free space (`puriflow store gc`), or name another --store; nothing was lost."
        return DiskFullError(f"no space left in store {url} ({what}).", remedy)
    if error.errno in NO_RIGHT:
        remedy = "Mend its rights or name another --store."
        return StoreError(f"store {url} may not be written or read here ({what}).", remedy)
    if error.errno in NO_LOCKS:
        remedy = "Put the store on a file system that keeps locks (flock), or use s3://."
        return StoreError(f"store {url} is on a file system without locks ({what}).", remedy)
    return StoreError(f"store {url} failed: {what}.", "Check that it is a folder and reachable.")


def explain_remote(error: Exception, url: str) -> StoreError:
    """Explain a fault of an object store; what the library said is kept, credentials are never in it."""
    what = str(error).strip() or type(error).__name__
    kinds = {kind.__name__ for kind in type(error).__mro__}
    code = service_code(error)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        remedy = "Free space there, or set PURIFLOW_CACHE to another folder; nothing was lost."
        return DiskFullError(f"no space left on this machine for files of store {url} ({what}).", remedy)
    if code == "NoSuchBucket" or isinstance(error, FileNotFoundError):
        return StoreError(f"store {url} is not there ({what}).", "Create the bucket, or name another --store.")
    if kinds & {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"}:
        remedy = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
        return StoreError(f"no credentials for store {url} ({what}).", remedy)
    if isinstance(error, PermissionError):
        remedy = "Check the credentials and their rights to list, get, put and delete there."
        return StoreError(f"store {url} refuses these credentials ({what}).", remedy)
    if kinds & {"HTTPClientError", "EndpointConnectionError", "ConnectionError", "TimeoutError", "FSTimeoutError"}:
        remedy = "Check the network and AWS_ENDPOINT_URL, then run again; nothing was lost."
        return StoreError(f"store {url} cannot be reached ({what}).", remedy)
    return StoreError(f"store {url} failed: {what}.", "Check the address and the service, then run again.")


def service_code(error: BaseException) -> str:
    """Name the fault as the S3 service did ('' where no service spoke)."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        cause = cause.__cause__
    return ""
